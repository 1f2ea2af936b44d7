/* escape stay | escape ATTACK vcpu|helper|loop MANAGER_PID SOCKET: has the worker of a test build (tests/system/escape.c) attacked from
 * inside. Prints what came of it, if the worker lives. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL_ATTACK 60000
#define CALL_RESULT 60001
#define PENDING 1000000

static const struct {
    const char *name, *filtered, *bare, *what;
} attacks[] = {
#define ATTACK(name, filtered, bare, what) {#name, #filtered, #bare, what},
#include "../../system/escape.def"
#undef ATTACK
};
#define COUNT (sizeof attacks / sizeof attacks[0])

int main(int argc, char **argv)
{
    static const char *const places[] = {"vcpu", "helper", "loop"};
    uint64_t path[3] = {0};
    unsigned a = 0, where = 0;
    if (argc == 2 && !strcmp(argv[1], "stay"))
        for (;;)
            usleep(100000);
    if (argc != 5)
        return 3;
    while (a < COUNT && strcmp(attacks[a].name, argv[1]))
        a++;
    while (where < 3 && strcmp(places[where], argv[2]))
        where++;
    if (a == COUNT || where == 3 || strlen(argv[4]) >= sizeof path)
        return 3;
    memcpy(path, argv[4], strlen(argv[4]));
    long r =
        syscall(CALL_ATTACK, a | (uint64_t)where << 32, atol(argv[3]), path[0], path[1], path[2]);
    while (r == 0 && (r = syscall(CALL_RESULT)) == PENDING) {
        if (write(1, "\n", 1) < 0) /* something for the loop to do */
            return 3;
        usleep(1000);
        r = 0;
        continue;
    }
    printf("%s\n", r < 0 ? "FAILS" : "LIVES");
    fprintf(stderr, "%s: %ld\n", attacks[a].what, r);
    return r > 0; /* descriptors and the like: how many there are */
}
