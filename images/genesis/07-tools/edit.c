/* Replaces a text in a file: edit FILE COUNT OLD NEW

   OLD must stand there exactly COUNT times, or nothing is changed. In both texts \s is a space, \n the end of a line,
   \t a tab and \\ a backslash. */
#include "tools.h"

/* Replaces the escapes of an argument. */
void unescape(char *text)
{
    char *to = text;

    for (; *text; text++, to++) {
        *to = *text;
        if (*text != '\\')
            continue;
        char *escape = strchr("nst\\", *++text);
        if (!*text || !escape)
            usage("behind a backslash there must be s, n, t or a backslash");
        *to = *text == 'n' ? '\n' : *text == 's' ? ' ' : *text == 't' ? '\t' : '\\';
    }
    *to = 0;
}

int main(int argc, char **argv)
{
    program = "edit";
    if (argc != 5)
        usage("give a file, a count, the old text and the new one");
    char *end, *old = argv[3], *new = argv[4];
    int wanted = strtol(argv[2], &end, 10), found = 0;
    if (*end || wanted < 1)
        usage("the count must be a number of at least 1");
    unescape(old);
    unescape(new);
    int length = strlen(old);
    if (length == 0)
        usage("the old text must not be empty");
    char *text = read_file(argv[1]), *at = text;
    end = text + file_length;
    while (at < end)
        if (!strncmp(at, old, length)) {
            found++;
            at += length;
        } else
            at++;
    if (found != wanted)
        fail(argv[1], "does not have the old text as often as it should");
    open_output(argv[1], 0644);
    for (at = text; at < end; )
        if (!strncmp(at, old, length)) {
            for (char *from = new; *from; from++)
                write_byte(*from);
            at += length;
        } else
            write_byte(*at++);
    close_output();
    return 0;
}
