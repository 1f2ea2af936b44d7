/* The state a program starts in: no C library. RISC-V only.
 * flags: -nostdlib -static -ffreestanding
 * tests: write exit_group
 */
typedef unsigned long u64;

__asm__(".globl _start\n_start:\n .option push\n .option norelax\n la gp, __global_pointer$\n "
        ".option pop\n mv a0, sp\n andi sp, sp, -16\n call begin\n");

static long call(long nr, long a, long b, long c)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                     a7 __asm__("a7") = nr;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}
static void text(const char *s)
{
    long n = 0;
    while (s[n])
        n++;
    call(64, 1, (long)s, n);
}
static void number(const char *what, u64 v)
{
    char b[20];
    int n = 20;
    b[--n] = '\n';
    do
        b[--n] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    text(what);
    call(64, 1, (long)(b + n), 20 - n);
}
extern char _start[];
static int zero_data[64];
static int data = 7;

void begin(u64 *sp);
void begin(u64 *sp)
{
    char **argv = (char **)(sp + 1), **env;
    static u64 has[64], value[64];
    u64 argc = sp[0], *aux, last = 0;
    number("sp modulo 16 ", (u64)sp & 15);
    number("argc ", argc);
    for (u64 i = 1; i < argc; i++) {
        text(argv[i]);
        text("\n");
    }
    number("argv ends ", (u64)argv[argc]);
    env = argv + argc + 1;
    while (*env)
        env++;
    aux = (u64 *)(env + 1);
    for (; aux[0]; aux += 2)
        if (aux[0] < 64) {
            has[aux[0]] = 1;
            value[aux[0]] = aux[1];
        }
    number("aux ends ", aux[0]);
    number("page size ", value[6]);
    number("program headers' size ", value[4]);
    number("program headers are there ", value[3] != 0 && value[5] > 0);
    number("entry is _start ", value[9] == (u64)_start);
    number("interpreter's base ", value[7]);
    number("clock ticks ", value[17]);
    number("secure ", value[23]);
    number("hwcap IMAFDC ", value[16] & 0x112d);
    number("ids ", has[11] && has[12] && has[13] && has[14] && value[11] == value[12]);
    number("random ", has[25] && value[25] != 0);
    number("program's name ", has[31] && *(char *)value[31] != 0);
    for (int i = 0; i < 64; i++)
        last |= (u64)zero_data[i];
    number("bss ", last);
    number("data ", (u64)data);
    u64 fcsr;
    __asm__ volatile("frcsr %0" : "=r"(fcsr));
    number("fcsr ", fcsr);
    call(94, 17, 0, 0);
    for (;;)
        ;
}
