/*
 * base/base.h - the small change of the house: integer helpers, assertions, cleanup, intrusive lists.
 * Looks into nothing; open to every room.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + ((a)-1), a)
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define UNUSED __attribute__((unused))
#define PUBLIC __attribute__((visibility("default")))

#define PAGE_BITS 12
#define PAGE_SIZE ((size_t)1 << PAGE_BITS)

/* Our own bug: reported with its place, then abort(). Stays in release builds. */
_Noreturn void base_assert_failed(const char *expr, const char *file, int line, const char *func);
#define ASSERT(x) (likely(x) ? (void)0 : base_assert_failed(#x, __FILE__, __LINE__, __func__))
#define UNREACHABLE() base_assert_failed("unreachable", __FILE__, __LINE__, __func__)

static inline int64_t sign_extend(uint64_t x, unsigned bits)
{
    return (int64_t)(x << (64 - bits)) >> (64 - bits);
}

/* Cleanup by attribute: CLEANUP(close_fd) int fd = -1; CLEANUP(free_ptr) char *p = NULL; */
#define CLEANUP(f) __attribute__((cleanup(f)))
void free_ptr(void *pp);  /* free(*(void **)pp) */
void close_fd(int *fd);   /* close if >= 0; keeps errno */

/* A doubly linked list with its head in the list: an empty head points to itself. */
struct list {
    struct list *next, *prev;
};
static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_insert_before(struct list *at, struct list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void list_append(struct list *head, struct list *n)
{
    list_insert_before(head, n);
}
static inline void list_prepend(struct list *head, struct list *n)
{
    list_insert_before(head->next, n);
}
/* Unlinks and leaves n empty, so that removing twice is harmless. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_for_each(p, head) for (struct list *p = (head)->next; p != (head); p = p->next)
/* Safe against removal of p itself. */
#define list_for_each_safe(p, head)                                                                \
    for (struct list *p = (head)->next, *p##_next = p->next; p != (head); p = p##_next, p##_next = p->next)

#endif
