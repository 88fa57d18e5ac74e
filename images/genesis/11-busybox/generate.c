/* Makes the two headers of busybox that its makefile makes with kconfig and sed: generate OPTIONS FILES...

   A line of OPTIONS is an option that is on, or an option and its value; all others are off. FILES are lists of
   sources and headers, relative to the working directory. Written are ../include/autoconf.h, with macros for every option
   that a file names, and ../include/applets.h, with the applets of all files in the place of the line INSERT. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS = 4096, FILES = 512 };

struct option {
    char *name;
    char *value; /* 0: off; "": on */
    int seen;
};

static struct option options[OPTIONS];
static int option_count;
static char *files[FILES];
static int file_count;

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "generate: %s: %s\n", name, what);
    exit(1);
}

static char *read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    long size;
    char *text;

    if (!file)
        fail("cannot be opened", name);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    text = malloc(size + 1);
    if (!text || fread(text, 1, size, file) != (size_t)size)
        fail("cannot be read", name);
    fclose(file);
    text[size] = 0;
    return text;
}

static struct option *find(const char *name, size_t length)
{
    int i;

    for (i = 0; i < option_count; i++)
        if (strlen(options[i].name) == length && !memcmp(options[i].name, name, length))
            return options + i;
    if (option_count == OPTIONS)
        fail("has too many options", name);
    options[option_count].name = strndup(name, length);
    return options + option_count++;
}

static void read_options(const char *name)
{
    char *line;

    for (line = strtok(read_file(name), "\n"); line; line = strtok(0, "\n")) {
        size_t length = strcspn(line, " ");
        struct option *option = find(line, length);
        option->value = line + length + (line[length] == ' ');
        option->seen = 1;
    }
}

static void read_list(const char *name)
{
    char *word;

    for (word = strtok(read_file(name), " \n"); word; word = strtok(0, " \n")) {
        if (file_count == FILES)
            fail("has too many files", name);
        files[file_count++] = word;
    }
}

/* The words ENABLE_X, CONFIG_X, IF_X and IF_NOT_X name the option X. */
static void look_for_options(const char *text)
{
    static const char *const prefixes[] = {"ENABLE_", "CONFIG_", "IF_NOT_", "IF_", 0};

    while (*text) {
        size_t length = 0;
        int i;

        while (isalnum((unsigned char)text[length]) || text[length] == '_')
            length++;
        for (i = 0; length && prefixes[i]; i++) {
            size_t prefix = strlen(prefixes[i]);
            if (length > prefix && !memcmp(text, prefixes[i], prefix)) {
                find(text + prefix, length - prefix)->seen = 1;
                break;
            }
        }
        text += length ? length : 1;
    }
}

static FILE *create(const char *name)
{
    FILE *file = fopen(name, "wb");

    if (!file)
        fail("cannot be created", name);
    return file;
}

static void close_file(FILE *file, const char *name)
{
    if (ferror(file) || fclose(file))
        fail("cannot be written", name);
}

static void write_options(const char *name)
{
    FILE *file = create(name);
    int i;

    for (i = 0; i < option_count; i++) {
        const char *option = options[i].name;
        if (options[i].value) {
            fprintf(file, "#define CONFIG_%s %s\n", option, *options[i].value ? options[i].value : "1");
            fprintf(file, "#define ENABLE_%s 1\n#define IF_%s(...) __VA_ARGS__\n#define IF_NOT_%s(...)\n",
                    option, option, option);
        } else
            fprintf(file, "#define ENABLE_%s 0\n#define IF_%s(...)\n#define IF_NOT_%s(...) __VA_ARGS__\n",
                    option, option, option);
    }
    close_file(file, name);
}

/* The lines that begin with //applet: stand beside the code of each applet. */
static void insert_applets(FILE *out)
{
    static const char mark[] = "//applet:";
    int i;

    for (i = 0; i < file_count; i++) {
        char *line = read_file(files[i]);
        while (line) {
            char *end = strchr(line, '\n');
            if (end)
                *end++ = 0;
            if (!strncmp(line, mark, strlen(mark)))
                fprintf(out, "%s\n", line + strlen(mark));
            line = end;
        }
    }
}

static void write_applets(const char *from, const char *name)
{
    FILE *out = create(name);
    char *text = read_file(from);
    char *insert = strstr(text, "\nINSERT\n");

    if (!insert)
        fail("has no line INSERT", from);
    fwrite(text, 1, insert + 1 - text, out);
    insert_applets(out);
    fputs(insert + strlen("\nINSERT\n"), out);
    close_file(out, name);
}

int main(int argc, char **argv)
{
    int i;

    if (argc < 3) {
        fputs("generate: give a file of options and lists of files\n", stderr);
        return 1;
    }
    read_options(argv[1]);
    for (i = 2; i < argc; i++)
        read_list(argv[i]);
    for (i = 0; i < file_count; i++)
        look_for_options(read_file(files[i]));
    write_options("../include/autoconf.h");
    write_applets("../include/applets.src.h", "../include/applets.h");
    return 0;
}
