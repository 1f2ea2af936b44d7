/* Messages: one line, the cause and the next step. */
#include "client/vmctl/ctl.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ctl_say(const char *fmt, ...)
{
    char text[1400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *s = text; *s; s++) /* it may quote a guest, and terminals obey */
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    fprintf(stderr, "vmctl: %s\n", text);
}

/* The text names the next step already, in about these words. */
static bool says_already(const char *text, const char *fix)
{
    unsigned words = 0, there = 0;
    char word[32];
    while (*fix) {
        size_t n = 0;
        while (*fix && !isalnum((unsigned char)*fix))
            fix++;
        for (; isalnum((unsigned char)*fix); fix++)
            if (n < sizeof word - 1)
                word[n++] = *fix;
        word[n] = 0;
        if (n < 4)
            continue;
        words++;
        there += strcasestr(text, word) != NULL;
    }
    return there * 3 >= words * 2;
}

int ctl_fail(const struct err *err)
{
    if (err->fix && err->fix[0] && !says_already(err->text, err->fix))
        ctl_say("%s; %s", err->text, err->fix);
    else
        ctl_say("%s", err->text);
    return CTL_EXIT_ERROR;
}

int ctl_usage(const struct err *err)
{
    ctl_say("%s", err->text);
    return CTL_EXIT_USAGE;
}

bool ctl_colours(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(f)) && !(no && no[0]) && term && term[0] && strcmp(term, "dumb") != 0;
}
