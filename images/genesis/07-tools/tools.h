/* What the tools share: one file is read, one is written, and an error ends the program with the file's name. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYS_LINK = 9, SYS_MKDIR = 39, SYS_SYMLINK = 83 };

char *program;
FILE *input, *output;
char *input_name, *output_name;

void fail(char *name, char *message)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", program, name, message);
    exit(1);
}

void usage(char *message)
{
    fprintf(stderr, "%s: %s\n", program, message);
    exit(1);
}

void open_input(char *name)
{
    input_name = name;
    input = fopen(name, "r");
    if (!input)
        fail(name, "cannot be opened");
}

/* The next byte of the input, which must be there. */
int need_byte(void)
{
    int byte = getc(input);

    if (byte == EOF)
        fail(input_name, "is cut off");
    return byte;
}

void damaged(char *message)
{
    fail(input_name, message);
}

void open_output(char *name, int mode)
{
    unlink(name);
    output_name = name;
    int descriptor = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (descriptor < 0)
        fail(name, "cannot be made");
    output = fdopen(descriptor, "w");
}

void write_byte(int byte)
{
    if (fputc(byte, output) == EOF)
        fail(output_name, "cannot be written");
}

void close_output(void)
{
    if (fclose(output))
        fail(output_name, "cannot be written");
}

/* A whole file, with a zero behind it; its length is left in file_length. */
int file_length;

char *read_file(char *name)
{
    int room = 65536, got;
    char *text = malloc(room);

    open_input(name);
    file_length = 0;
    while ((got = fread(text + file_length, 1, room - 1 - file_length, input)) > 0) {
        file_length += got;
        if (file_length == room - 1)
            text = realloc(text, room *= 2);
        if (!text)
            fail(name, "is too large");
    }
    fclose(input);
    text[file_length] = 0;
    return text;
}

int make_directory(char *name)
{
    return syscall(SYS_MKDIR, (int)name, 0755, 0);
}
