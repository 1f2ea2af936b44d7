/* A guest that takes without end is refused: address space, memory, maps, descriptors, processes, files. The host does not
 * notice. Not for QEMU: there the host would.
 * vvrun: --memory 67108864 --overlay 16777216 --processes 40 --files 200
 */
#include "t.h"

static void address_space(void)
{
    long n = 0;
    while (n < 1 << 20 && mmap(NULL, (size_t)1 << 28, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
        n++;
    say("address space: %s, some came %d", t_errname(errno), n > 0);
}

/* 64 MiB may be had: more is refused by mmap or brk; what was given can be touched. */
static void memory(void)
{
    long n = 0;
    char *p;
    while (n < 4096 && (p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                 -1, 0)) != MAP_FAILED) {
        memset(p, 1, 1 << 20);
        n++;
    }
    say("memory: %s, at least 32 MiB %d, at most 64 MiB %d", t_errname(errno), n >= 32, n <= 64);
}

/* Alternate pages with different rights cannot be one map. */
static void maps(void)
{
    size_t pages = 200000;
    char *p =
        mmap(NULL, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    long r = 0, n = 0;
    for (size_t i = 0; i < pages && r == 0; i += 2, n++)
        r = sys(SYS_mprotect, p + i * 4096, 4096L, PROT_READ);
    say("maps: %s, at least a thousand %d", r ? t_errname(-r) : "no end", n >= 1000);
}

static void descriptors(void)
{
    int n = 0, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    say("descriptors: %s, %d with the three there were", t_errname(errno), n + 3);
}

static void processes(void)
{
    int n = 0, status;
    pid_t pid[1000];
    while (n < 1000 && (pid[n] = fork()) >= 0) {
        if (pid[n] == 0) {
            pause();
            _exit(0);
        }
        n++;
    }
    say("processes: %s, %d", t_errname(errno), n <= 40 && n >= 30);
    for (int i = 0; i < n; i++)
        kill(pid[i], SIGKILL);
    for (int i = 0; i < n; i++)
        waitpid(pid[i], &status, 0);
    pid_t again = fork();
    if (again == 0)
        _exit(0);
    T("room again", again > 0);
    waitpid(again, &status, 0);
}

static void bomb(void)
{
    /* each child forks on until it is refused, then ends */
    for (;;) {
        pid_t p = fork();
        if (p < 0)
            _exit(0);
        if (p > 0) {
            int status;
            waitpid(p, &status, 0);
            _exit(0);
        }
    }
}

static void files(void)
{
    static char block[65536];
    int fd = open("big", O_WRONLY | O_CREAT, 0644);
    long total = 0, r;
    memset(block, 1, sizeof block);
    while (total < 1 << 30 && (r = sys(SYS_write, fd, block, sizeof block)) > 0)
        total += r;
    say("files: %s, at least 8 MiB %d, at most 16 MiB %d", t_errname((int)-r), total >= 8 << 20,
        total <= 16 << 20);
    close(fd);
    unlink("big");
    fd = open("big", O_WRONLY | O_CREAT, 0644);
    R("room again", SYS_write, fd, block, sizeof block);
    close(fd);
}

int main(void)
{
    t_child("address space", address_space);
    t_child("memory", memory);
    t_child("maps", maps);
    t_child("descriptors", descriptors);
    processes();
    t_child("fork bomb", bomb);
    files();
    return 0;
}
