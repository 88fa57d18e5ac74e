/* Makes musl's generated headers: headers ALLTYPES_ARCH ALLTYPES OUTPUT, or headers -s SYSCALLS OUTPUT

   In alltypes.h.in, `TYPEDEF type name;`, `STRUCT name definition;` and `UNION name definition;` become definitions that a
   header can ask for by __NEED_name. In syscall.h.in, each `#define __NR_name number` is wanted once more as SYS_name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *output;

static void failed(const char *what, const char *name)
{
    fprintf(stderr, "headers: %s: %s\n", what, name);
    exit(1);
}

static FILE *opened(const char *name, const char *mode)
{
    FILE *file = fopen(name, mode);

    if (!file)
        failed("cannot open", name);
    return file;
}

/* A definition `text` of `name`, which is `__NEED_` + kind + name */
static void define(const char *kind, const char *name, int length, const char *text)
{
    fprintf(output, "#if defined(__NEED_%s%.*s) && !defined(__DEFINED_%s%.*s)\n%s\n#define __DEFINED_%s%.*s\n#endif\n\n",
            kind, length, name, kind, length, name, text, kind, length, name);
}

static void tagged(const char *kind, const char *keyword, char *line)
{
    char text[1000];

    while (*line == ' ')
        line++;
    sprintf(text, "%s %s", keyword, line);
    define(kind, line, strchr(line, ' ') - line, text);
}

static void types(const char *name)
{
    FILE *input = opened(name, "r");
    char line[1000], text[1010], *last;

    while (fgets(line, sizeof(line), input)) {
        line[strlen(line) - 1] = 0;
        if (!strncmp(line, "TYPEDEF ", 8)) {
            sprintf(text, "typedef %s", line + 8);
            last = strrchr(line, ' ') + 1;
            define("", last, strlen(last) - 1, text);
        } else if (!strncmp(line, "STRUCT ", 7))
            tagged("struct_", "struct", line + 7);
        else if (!strncmp(line, "UNION ", 6))
            tagged("union_", "union", line + 6);
        else
            fprintf(output, "%s\n", line);
    }
    fclose(input);
}

static void numbers(const char *name)
{
    FILE *input;
    char line[1000], *at;
    int pass;

    for (pass = 0; pass < 2; pass++) {
        input = opened(name, "r");
        while (fgets(line, sizeof(line), input)) {
            at = strstr(line, "__NR_");
            if (pass == 0)
                fputs(line, output);
            else if (at) {
                *at = 0;
                fprintf(output, "%sSYS_%s", line, at + 5);
            }
        }
        fclose(input);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        failed("usage", "headers ALLTYPES_ARCH ALLTYPES OUTPUT, or headers -s SYSCALLS OUTPUT");
    output = opened(argv[3], "w");
    if (strcmp(argv[1], "-s")) {
        types(argv[1]);
        types(argv[2]);
    } else
        numbers(argv[2]);
    if (fclose(output))
        failed("cannot write", argv[3]);
    return 0;
}
