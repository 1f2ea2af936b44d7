/*
 * churn: what makes a worker do what it seldom does. More code than a code cache holds (16 MiB): runs through 4 MiB of small
 * blocks until all of them are translated, twice; and a list that the C library sorts with a buffer of its own.
 */
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#define WORDS (1024u * 1024)
#define ROUNDS 24

int main(void)
{
    static gid_t groups[1000];
    uint32_t *code = mmap(NULL, WORDS * 4 + 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t n = 0;
    if (code == MAP_FAILED || setgroups(1000, groups))
        return 1;
    for (uint32_t i = 0; i < WORDS; i += 4) {
        code[i] = 0x00150513;     /* addi a0, a0, 1 */
        code[i + 1] = 0x02c5c5b3; /* div a1, a1, a2 */
        code[i + 2] = 0x02d66633; /* rem a2, a2, a3 */
        code[i + 3] = 0x0040006f; /* j .+4 */
    }
    code[WORDS] = 0x00008067; /* ret */
    __builtin___clear_cache((char *)code, (char *)(code + WORDS + 1));
    for (int round = 0; round < ROUNDS; round++)
        n = ((uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t))(void *)code)(n, 1, 2, 3);
    printf("%llu\n", (unsigned long long)n);
    return n != (uint64_t)ROUNDS * (WORDS / 4);
}
