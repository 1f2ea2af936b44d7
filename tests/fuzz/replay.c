/*
 * replay DIR [rounds] - feed every file of DIR, the empty input, and `rounds` mutations of each file to a fuzzer's entry. The
 * mutations come from a fixed seed: a run that passes passes again. DIR without files is an error: a fuzzer has a corpus.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { ROUNDS = 100, SIZE_MAX_BYTES = 1 << 20 };

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "replay: %s: %s\n", what, why);
    exit(1);
}

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Exactly size bytes on the heap, so that AddressSanitizer sees the first one too many. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        die("memory", strerror(errno));
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t mutate(uint8_t *p, size_t n, uint64_t *seed)
{
    static const uint64_t odd[] = {0,      1,          0x7f,       0x80,       0xff,      0x7fff,
                                   0xffff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX};
    for (int k = 1 + (int)(next(seed) % 4); n && k; k--) {
        size_t at = next(seed) % n, width = (size_t)1 << next(seed) % 4;
        uint64_t v = odd[next(seed) % (sizeof odd / sizeof *odd)];
        switch (next(seed) % 5) {
        case 0:
            p[at] ^= (uint8_t)(1u << next(seed) % 8);
            break;
        case 1:
            p[at] = (uint8_t)next(seed);
            break;
        case 2:
            memcpy(p + at, &v, at + width <= n ? width : n - at);
            break;
        case 3: { /* a piece from elsewhere */
            size_t from = next(seed) % n, len = next(seed) % 32;
            len = from + len > n ? n - from : len;
            memmove(p + at, p + from, at + len > n ? n - at : len);
            break;
        }
        default:
            n = at;
        }
    }
    return n;
}

static void replay(const char *path, int rounds)
{
    static uint8_t data[SIZE_MAX_BYTES], changed[SIZE_MAX_BYTES];
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path, strerror(errno));
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    feed(data, n);
    uint64_t seed = 0x9e3779b97f4a7c15u ^ n;
    for (int i = 0; i < rounds; i++) {
        memcpy(changed, data, n);
        feed(changed, mutate(changed, n, &seed));
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die("usage", "replay DIR [rounds]");
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    struct dirent **names;
    int n = scandir(argv[1], &names, NULL, alphasort), files = 0;
    if (n < 0)
        die(argv[1], strerror(errno));
    feed((const uint8_t *)"", 0);
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        bool file = names[i]->d_name[0] != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode);
        free(names[i]);
        if (!file)
            continue;
        fprintf(stderr, "%s\n", path);
        replay(path, argc > 2 ? atoi(argv[2]) : ROUNDS);
        files++;
    }
    free(names);
    if (files == 0)
        die(argv[1], "no corpus");
    printf("%d files, %d mutations each\n", files, argc > 2 ? atoi(argv[2]) : ROUNDS);
    return 0;
}
