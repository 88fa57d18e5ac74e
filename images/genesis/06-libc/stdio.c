/* Files with buffers, and formats */
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The buffer holds either what was read and is still to be taken, or what waits to be written. */
struct _file {
    int descriptor, writing;
    size_t at, used;
    FILE *next;
    unsigned char buffer[BUFSIZ];
};

static FILE standard[3] = {{0}, {1}, {2}};
FILE *stdin = &standard[0], *stdout = &standard[1], *stderr = &standard[2];
static FILE *opened;

static int write_out(FILE *file, const char *from, size_t count)
{
    while (count) {
        int written = write(file->descriptor, from, count);

        if (written <= 0)
            return EOF;
        from += written;
        count -= written;
    }
    return 0;
}

int fflush(FILE *file)
{
    int result = 0;

    if (!file) {
        result = fflush(stdout);
        for (file = opened; file; file = file->next)
            result |= fflush(file);
        return result;
    }
    if (file->writing)
        result = write_out(file, (char *)file->buffer, file->used);
    else if (file->used > file->at)
        lseek(file->descriptor, (long)file->at - (long)file->used, SEEK_CUR);
    file->writing = 0;
    file->at = file->used = 0;
    return result;
}

FILE *fdopen(int descriptor, const char *mode)
{
    FILE *file = malloc(sizeof(FILE));

    if (file) {
        file->descriptor = descriptor;
        file->writing = 0;
        file->at = file->used = 0;
        file->next = opened;
        opened = file;
    }
    return file;
}

FILE *fopen(const char *path, const char *mode)
{
    int plus = strchr(mode, '+') != NULL, descriptor;
    int flags = *mode == 'r' ? (plus ? O_RDWR : O_RDONLY) : (plus ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC;

    if (*mode == 'a')
        return NULL;
    descriptor = open(path, flags, 0666);
    return descriptor < 0 ? NULL : fdopen(descriptor, mode);
}

int fclose(FILE *file)
{
    FILE **at = &opened;
    int result = fflush(file);

    if (close(file->descriptor) < 0)
        result = EOF;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    free(file);
    return result;
}

size_t fwrite(const void *from, size_t size, size_t count, FILE *file)
{
    size_t length = size * count;

    if (!file->writing || length > BUFSIZ - file->used)
        if (fflush(file))
            return 0;
    if (file == stderr || length > BUFSIZ)
        return write_out(file, from, length) ? 0 : count;
    file->writing = 1;
    memcpy(file->buffer + file->used, from, length);
    file->used += length;
    return count;
}

/* Reads into the empty buffer; whether there was something */
static int fill(FILE *file)
{
    int got;

    if (file->writing)
        fflush(file);
    got = read(file->descriptor, file->buffer, BUFSIZ);
    file->at = 0;
    file->used = got > 0 ? got : 0;
    return got > 0;
}

int getc(FILE *file)
{
    return (file->at < file->used && !file->writing) || fill(file) ? file->buffer[file->at++] : EOF;
}

size_t fread(void *to, size_t size, size_t count, FILE *file)
{
    char *bytes = to;
    size_t left = size * count;
    int c;

    for (; left && (c = getc(file)) != EOF; left--)
        *bytes++ = c;
    return size ? (size * count - left) / size : 0;
}

int fseek(FILE *file, long offset, int whence)
{
    fflush(file);
    return lseek(file->descriptor, offset, whence) < 0 ? -1 : 0;
}

long ftell(FILE *file)
{
    long at = lseek(file->descriptor, 0, SEEK_CUR);

    return file->writing ? at + (long)file->used : at - (long)(file->used - file->at);
}

char *fgets(char *to, int size, FILE *file)
{
    int c, i = 0;

    while (i < size - 1 && (c = getc(file)) != EOF) {
        to[i++] = c;
        if (c == '\n')
            break;
    }
    to[i] = 0;
    return i ? to : NULL;
}

int fputc(int c, FILE *file)
{
    unsigned char byte = c;

    if (file->writing && file->used < BUFSIZ)
        return file->buffer[file->used++] = c;
    return fwrite(&byte, 1, 1, file) ? byte : EOF;
}

int fputs(const char *text, FILE *file)
{
    size_t length = strlen(text);

    return fwrite(text, 1, length, file) == length ? 0 : EOF;
}

/* Formats. What they make goes to a file, or to memory up to a limit; it is counted in any case. */
struct sink {
    FILE *file;
    char *to;
    size_t room, count;
};

static void put(struct sink *sink, int c)
{
    if (sink->file)
        fputc(c, sink->file);
    else if (sink->count < sink->room)
        sink->to[sink->count] = c;
    sink->count++;
}

/* Text in a field of `width`, to the left of it if that is negative */
static void put_field(struct sink *sink, const char *text, int count, int width, int padding)
{
    int spaces = (width < 0 ? -width : width) - count;

    if (padding == '0' && count && *text == '-') {
        put(sink, *text++);
        count--;
    }
    for (; width > 0 && spaces > 0; spaces--)
        put(sink, padding);
    while (count-- > 0)
        put(sink, *text++);
    for (; spaces > 0; spaces--)
        put(sink, ' ');
}

static void unknown_format(const char *function)
{
    fprintf(stderr, "%s: a format that this library does not know\n", function);
    exit(1);
}

/* The digits of a number, which end behind `end`. Their begin is the result. */
static char *digits(char *end, unsigned long long value, int style)
{
    int base = style == 'd' || style == 'u' ? 10 : 16, minus = style == 'd' && (long long)value < 0;

    if (minus)
        value = -value;
    do {
        *--end = (style == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
        value /= base;
    } while (value);
    if (minus)
        *--end = '-';
    return end;
}

/* Knows %d, %u, %x, %X, %p, %c, %s and %%, with a width, zeros before it, and how much of a string is taken. */
static int format(struct sink *sink, const char *at, va_list list)
{
    char number[24], *text;
    int width, left, precision, longs, padding;
    long long value;

    for (; *at; at++) {
        if (*at != '%') {
            put(sink, *at);
            continue;
        }
        left = *++at == '-';
        at += left;
        padding = *at == '0' ? '0' : ' ';
        width = longs = 0;
        precision = -1;
        if (*at == '*') {
            width = va_arg(list, int);
            at++;
        }
        while (isdigit(*at))
            width = width * 10 + *at++ - '0';
        if (*at == '.') {
            precision = 0;
            if (*++at == '*') {
                precision = va_arg(list, int);
                at++;
            }
            while (isdigit(*at))
                precision = precision * 10 + *at++ - '0';
        }
        for (; *at == 'l'; at++)
            longs++;
        if (left)
            width = -width;
        switch (*at) {
        case 'd': case 'u': case 'x': case 'X': case 'p':
            if (longs == 2)
                value = va_arg(list, long long);
            else if (*at == 'd')
                value = va_arg(list, int);
            else
                value = va_arg(list, unsigned int);
            if (precision >= 0) {
                width = precision;
                padding = '0';
            }
            text = digits(number + 24, value, *at);
            put_field(sink, text, number + 24 - text, width, padding);
            break;
        case 'c':
            number[0] = va_arg(list, int);
            put_field(sink, number, 1, width, ' ');
            break;
        case 's':
            text = va_arg(list, char *);
            for (left = 0; left != precision && text[left]; left++)
                ;
            put_field(sink, text, left, width, ' ');
            break;
        case '%':
            put(sink, '%');
            break;
        default:
            unknown_format("printf");
        }
    }
    return sink->count;
}

static int format_file(FILE *file, const char *text, va_list list)
{
    struct sink sink = {0};

    sink.file = file;
    return format(&sink, text, list);
}

int vsnprintf(char *to, size_t size, const char *text, va_list list)
{
    struct sink sink = {0};
    int count;

    sink.to = to;
    sink.room = size ? size - 1 : 0;
    count = format(&sink, text, list);
    if (size)
        to[sink.count < sink.room ? sink.count : sink.room] = 0;
    return count;
}

int printf(const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return format_file(stdout, text, list);
}

int fprintf(FILE *file, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return format_file(file, text, list);
}

int sprintf(char *to, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vsnprintf(to, 0x7fffffff, text, list);
}

int snprintf(char *to, size_t size, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vsnprintf(to, size, text, list);
}

/* Knows %d, and characters that must be there. */
int sscanf(const char *from, const char *text, ...)
{
    va_list list;
    int count = 0;
    char *end;

    va_start(list, text);
    for (; *text; text++)
        if (*text == '%') {
            if (*++text != 'd')
                unknown_format("sscanf");
            *va_arg(list, int *) = strtol(from, &end, 10);
            if (end == from)
                return count;
            from = end;
            count++;
        } else if (*from++ != *text)
            return count;
    return count;
}
