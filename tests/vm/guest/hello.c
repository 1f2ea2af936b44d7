#include <stdio.h>
#include <stdlib.h>

/* hello [code]: the smallest thing that uses the C library. */
int main(int argc, char **argv)
{
    puts("hello");
    return argc > 1 ? atoi(argv[1]) : 0;
}
