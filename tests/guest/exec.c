/* execve, from the program's own file.
 * tests: execve execveat clone wait4 readlinkat openat fcntl
 */
#include "t.h"

#include <elf.h>
#include <pthread.h>
#include <sched.h>

static char self[4096];
static char *const no_env[] = {NULL};
static char *const *volatile bad_vector = BAD;

static void run(const char *what, const char *path, char *const argv[], char *const env[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        long r = sys(SYS_execve, path, argv, env);
        say("%s: %s", what, t_errname(-r));
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        t_status(what, status);
}

static void script(const char *name, const char *first_line)
{
    t_file(name, first_line);
    chmod(name, 0755);
}

/* The new program: tell what arrived. */
static int child(int argc, char **argv)
{
    extern char **environ;
    if (strncmp(argv[1], "show", 4) == 0) {
        say("argc %d", argc);
        for (int i = 1; i < argc; i++)
            say("  [%s]", strncmp(argv[i], "/", 1) == 0 ? "(path)" : argv[i]);
        for (char **e = environ; *e; e++)
            say("  env %s", *e);
        return 0;
    }
    if (strcmp(argv[1], "state") == 0) {
        struct sigaction a, b;
        uint64_t mask = 0;
        stack_t st;
        sigaction(SIGUSR1, NULL, &a), sigaction(SIGUSR2, NULL, &b);
        sys(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8L);
        sigaltstack(NULL, &st);
        say("handler reset %d, ignored stays %d, mask %lx, alternate stack off %d",
            a.sa_handler == SIG_DFL, b.sa_handler == SIG_IGN, (long)mask,
            st.ss_flags == SS_DISABLE);
        say("descriptor 20 %s, descriptor 21 %s", fcntl(20, F_GETFD) < 0 ? "closed" : "open",
            fcntl(21, F_GETFD) < 0 ? "closed" : "open");
        say("pid %s", atoi(argv[2]) == getpid() ? "kept" : "changed");
        say("umask %o", umask(0));
        return 0;
    }
    return atoi(argv[2]);
}

static void *exec_in_thread(void *arg)
{
    execve(self, arg, no_env);
    return NULL;
}
static void *spin(void *arg)
{
    for (;;)
        sched_yield();
    return arg;
}

static void errors(void)
{
    char *const argv[] = {"x", "show", NULL};
    char *fresh[] = {"x", BAD, NULL};
    run("missing", "missing", argv, no_env);
    run("empty path", "", argv, no_env);
    run("a folder", ".", argv, no_env);
    run("bad path", BAD, argv, no_env);
    run("bad argv", self, bad_vector, no_env);
    run("bad argument", self, fresh, no_env);
    run("bad env", self, argv, bad_vector);
    t_file("plain", "hello"), chmod("plain", 0644);
    run("no execute right", "plain", argv, no_env);
    run("below a file", "plain/x", argv, no_env);
    run("long name", t_long_name(256), argv, no_env);
    script("nonsense", "hello");
    run("nonsense", "nonsense", argv, no_env);
    script("empty", "");
    run("an empty file", "empty", argv, no_env);
    script("noint", "#!/nowhere/at/all\n");
    run("a script without its interpreter", "noint", argv, no_env);
    script("blank", "#!   \n");
    run("a script that names none", "blank", argv, no_env);
    symlink("loop", "loop");
    run("a loop", "loop", argv, no_env);
    /* damaged programs */
    char head[4096];
    int fd = open(self, O_RDONLY);
    read(fd, head, sizeof head);
    close(fd);
    struct damage {
        const char *what;
        size_t at, n;
        unsigned long v;
    } damages[] = {
        {"wrong machine", offsetof(Elf64_Ehdr, e_machine), 2, 0x1234},
        {"a relocatable file", offsetof(Elf64_Ehdr, e_type), 2, ET_REL},
        {"wrong size of program headers", offsetof(Elf64_Ehdr, e_phentsize), 2, 55},
        {"no program headers", offsetof(Elf64_Ehdr, e_phnum), 2, 0},
    };
    for (size_t i = 0; i < COUNT(damages); i++) {
        char bad[4096];
        memcpy(bad, head, sizeof bad);
        memcpy(bad + damages[i].at, &damages[i].v, damages[i].n);
        fd = open("bad", O_WRONLY | O_CREAT | O_TRUNC, 0755);
        write(fd, bad, sizeof bad);
        close(fd);
        run(damages[i].what, "bad", argv, no_env);
    }
    fd = open("bad", O_WRONLY | O_CREAT | O_TRUNC, 0755);
    write(fd, head, 40);
    close(fd);
    run("cut off in the header", "bad", argv, no_env);
    /* too much */
    size_t n = 40000;
    char **many = calloc(n + 1, sizeof *many);
    for (size_t i = 0; i < n; i++)
        many[i] = (char *)t_long_name(1000);
    run("too many arguments", self, many, no_env);
    char *huge = malloc(200000);
    memset(huge, 'h', 199999);
    huge[199999] = 0;
    char *const one[] = {"x", huge, NULL};
    run("an argument of 200 kB", self, one, no_env);
    R("execveat bad fd", SYS_execveat, 99, "x", argv, no_env, 0);
    R("execveat flags", SYS_execveat, AT_FDCWD, self, argv, no_env, 0x40000000);
    R("execveat empty path", SYS_execveat, AT_FDCWD, "", argv, no_env, 0);
}

int main(int argc, char **argv)
{
    int status;
    if (argc > 1)
        return child(argc, argv);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return 1;
    self[n] = 0;
    char *const env[] = {"A=1", "B=two words", NULL};
    run("exec", self, (char *const[]){"x", "show", "", "two words", NULL}, env);
    run("by /proc/self/exe", "/proc/self/exe", (char *const[]){"x", "show", NULL}, no_env);
    char *exit_argv[] = {"x", "exit", "42", NULL};
    pid_t pid = vfork();
    if (pid == 0) {
        execve(self, exit_argv, no_env);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    t_status("vfork and exec", status);
    /* what stays and what goes */
    pid = fork();
    if (pid == 0) {
        char number[16];
        sigset_t s;
        signal(SIGUSR1, (void (*)(int))(uintptr_t)spin);
        signal(SIGUSR2, SIG_IGN);
        sigemptyset(&s), sigaddset(&s, SIGTERM), sigprocmask(SIG_SETMASK, &s, NULL);
        sigaltstack(&(stack_t){.ss_sp = malloc(65536), .ss_size = 65536}, NULL);
        dup3(1, 20, O_CLOEXEC), dup2(1, 21);
        umask(057);
        snprintf(number, sizeof number, "%d", getpid());
        execve(self, (char *const[]){"x", "state", number, NULL}, no_env);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    t_status("state", status);
    /* exec by one of several threads ends the others and keeps the pid */
    pid = fork();
    if (pid == 0) {
        pthread_t t;
        for (int i = 0; i < 3; i++)
            pthread_create(&t, NULL, spin, NULL);
        pthread_create(&t, NULL, exec_in_thread, exit_argv);
        for (;;)
            pause();
    }
    T("the pid", waitpid(pid, &status, 0) == pid);
    t_status("exec in a thread", status);
    /* scripts */
    char line[5000];
    snprintf(line, sizeof line, "#!%s show\n", self);
    script("script", line);
    run("a script", "./script", (char *const[]){"ignored", "one", NULL}, no_env);
    snprintf(line, sizeof line, "#! %s   show with spaces  \nrest\n", self);
    script("spaces", line);
    run("its argument is one", "./spaces", (char *const[]){"ignored", "one", NULL}, no_env);
    script("script2", "#!./spaces\n");
    run("a script of a script", "./script2", (char *const[]){"ignored", "one", NULL}, no_env);
    for (int i = 3; i < 9; i++) {
        char name[16], text[32];
        snprintf(name, sizeof name, "script%d", i);
        snprintf(text, sizeof text, "#!./script%d\n", i - 1);
        script(name, text);
    }
    run("too many scripts", "./script8", (char *const[]){"ignored", "one", NULL}, no_env);
    /* a descriptor as the program */
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    pid = fork();
    if (pid == 0)
        _exit((int)-sys(SYS_execveat, fd, "", exit_argv, no_env, AT_EMPTY_PATH));
    waitpid(pid, &status, 0);
    t_status("execveat of a descriptor", status);
    close(fd);
    R("the running program is busy", SYS_openat, AT_FDCWD, self, O_WRONLY, 0);
    errors();
    return 0;
}
