/* Files with buffers, and formats */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "format.h"

/* The buffer holds either what was read and is still to be taken, or what waits to be written. */
struct _file {
    int descriptor;
    int writing, end, error;
    size_t at, used;
    FILE *next;
    char buffer[BUFSIZ];
};

static FILE standard[3] = {{0}, {1}, {2}};
FILE *stdin = &standard[0], *stdout = &standard[1], *stderr = &standard[2];
static FILE *opened;

static int write_out(FILE *file, const char *from, size_t count)
{
    while (count) {
        int written = write(file->descriptor, from, count);

        if (written <= 0) {
            file->error = 1;
            return EOF;
        }
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
        result = write_out(file, file->buffer, file->used);
    else if (file->used > file->at)
        lseek(file->descriptor, (long)file->at - (long)file->used, SEEK_CUR);
    file->writing = 0;
    file->at = file->used = 0;
    return result;
}

FILE *fdopen(int descriptor, const char *mode)
{
    FILE *file = calloc(1, sizeof(FILE));

    if (file) {
        file->descriptor = descriptor;
        file->next = opened;
        opened = file;
    }
    return file;
}

FILE *fopen(const char *path, const char *mode)
{
    int plus = strchr(mode, '+') != NULL, flags, descriptor;

    flags = *mode == 'r' ? (plus ? O_RDWR : O_RDONLY) : (plus ? O_RDWR : O_WRONLY) | O_CREAT;
    if (*mode == 'w')
        flags |= O_TRUNC;
    if (*mode == 'a')
        flags |= O_APPEND;
    descriptor = open(path, flags, 0666);
    return descriptor < 0 ? NULL : fdopen(descriptor, mode);
}

int fclose(FILE *file)
{
    FILE **at;
    int result = fflush(file);

    if (close(file->descriptor) < 0)
        result = EOF;
    for (at = &opened; *at; at = &(*at)->next)
        if (*at == file) {
            *at = file->next;
            free(file);
            break;
        }
    return result;
}

size_t fwrite(const void *from, size_t size, size_t count, FILE *file)
{
    const char *bytes = from;
    size_t left = size * count, part;

    if (!file->writing)
        fflush(file);
    file->writing = 1;
    if (file == stderr)
        return write_out(file, from, left) ? 0 : count;
    while (left) {
        if (file->used == BUFSIZ && fflush(file))
            return 0;
        file->writing = 1;
        part = BUFSIZ - file->used;
        if (part > left)
            part = left;
        memcpy(file->buffer + file->used, bytes, part);
        file->used += part;
        bytes += part;
        left -= part;
    }
    return count;
}

size_t fread(void *to, size_t size, size_t count, FILE *file)
{
    char *bytes = to;
    size_t left = size * count, part;
    int got;

    if (file->writing)
        fflush(file);
    while (left) {
        if (file->at == file->used) {
            got = read(file->descriptor, file->buffer, BUFSIZ);
            file->at = 0;
            file->used = got > 0 ? got : 0;
            if (got <= 0) {
                file->end = got == 0;
                file->error |= got < 0;
                break;
            }
        }
        part = file->used - file->at;
        if (part > left)
            part = left;
        memcpy(bytes, file->buffer + file->at, part);
        file->at += part;
        bytes += part;
        left -= part;
    }
    return size ? (size * count - left) / size : 0;
}

int fseek(FILE *file, long offset, int whence)
{
    fflush(file);
    file->end = 0;
    return lseek(file->descriptor, offset, whence) < 0 ? -1 : 0;
}

long ftell(FILE *file)
{
    long at = lseek(file->descriptor, 0, SEEK_CUR);

    return file->writing ? at + (long)file->used : at - (long)(file->used - file->at);
}

int feof(FILE *file) { return file->end; }
int ferror(FILE *file) { return file->error; }

int fgetc(FILE *file)
{
    unsigned char c;

    return fread(&c, 1, 1, file) ? c : EOF;
}

int getc(FILE *file) { return fgetc(file); }
int getchar(void) { return fgetc(stdin); }

char *fgets(char *to, int size, FILE *file)
{
    int c, i = 0;

    while (i < size - 1 && (c = fgetc(file)) != EOF) {
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

    return fwrite(&byte, 1, 1, file) ? byte : EOF;
}

int putc(int c, FILE *file) { return fputc(c, file); }
int putchar(int c) { return fputc(c, stdout); }

int fputs(const char *text, FILE *file)
{
    size_t length = strlen(text);

    return fwrite(text, 1, length, file) == length ? 0 : EOF;
}

int puts(const char *text)
{
    return fputs(text, stdout) | fputc('\n', stdout);
}

/* Formats. What they make goes to a file, or to memory up to a limit; it is counted in any case. */
struct sink {
    FILE *file;
    char *to;
    size_t room, count;
};

static void put(struct sink *sink, const char *from, int count)
{
    if (count <= 0)
        return;
    if (sink->file)
        fwrite(from, 1, count, sink->file);
    else
        for (; count && sink->count < sink->room; count--, sink->count++)
            sink->to[sink->count] = *from++;
    sink->count += count;
}

static void pad(struct sink *sink, int c, int count)
{
    char one = c;

    while (count-- > 0)
        put(sink, &one, 1);
}

enum { LEFT = 1, ZERO = 2, PLUS = 4, SPACE = 8, ALTERNATE = 16 };

/* Prefix, zeros and text in a field of `width` */
static void put_field(struct sink *sink, int flags, int width, const char *prefix, int zeros, const char *text, int count)
{
    int length = strlen(prefix);

    if (zeros < 0)
        zeros = 0;
    width -= length + zeros + count;
    if (flags & ZERO && width > 0) {
        zeros += width;
        width = 0;
    }
    if (!(flags & LEFT))
        pad(sink, ' ', width);
    put(sink, prefix, length);
    pad(sink, '0', zeros);
    put(sink, text, count);
    if (flags & LEFT)
        pad(sink, ' ', width);
}

static const char *sign_prefix(int minus, int flags)
{
    return minus ? "-" : flags & PLUS ? "+" : flags & SPACE ? " " : "";
}

static void put_integer(struct sink *sink, int flags, int width, int precision, int style, unsigned long long value)
{
    char digits[24], *at = digits + 24;
    const char *prefix = "";
    int base = style == 'o' ? 8 : style == 'x' || style == 'X' ? 16 : 10;
    unsigned long long left = value;

    if (style == 'd') {
        prefix = sign_prefix((long long)value < 0, flags);
        if ((long long)value < 0)
            left = -value;
    } else if (flags & ALTERNATE && value && base == 16)
        prefix = style == 'x' ? "0x" : "0X";
    for (; left; left /= base)
        *--at = (style == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[left % base];
    if (flags & ALTERNATE && base == 8 && precision < digits + 25 - at)
        precision = digits + 25 - at;
    if (precision < 0)
        precision = 1;
    else
        flags &= ~ZERO;
    put_field(sink, flags, width, prefix, precision - (digits + 24 - at), at, digits + 24 - at);
}

static void put_float(struct sink *sink, int flags, int width, int precision, int style, long double value)
{
    static char digits[FORMAT_ROOM];
    int minus = value < 0 || (value == 0 && 1 / value < 0), count, i;

    count = format_float(digits, minus ? -value : value, style | 32, precision, flags & ALTERNATE);
    if (isalpha(digits[0]))
        flags &= ~ZERO;
    for (i = 0; i < count && style < 'a'; i++)
        digits[i] = toupper(digits[i]);
    put_field(sink, flags, width, sign_prefix(minus, flags), 0, digits, count);
}

static void put_string(struct sink *sink, int flags, int width, int precision, const char *text)
{
    int count = 0;

    if (!text)
        text = "(null)";
    while ((precision < 0 || count < precision) && text[count])
        count++;
    put_field(sink, flags & ~ZERO, width, "", 0, text, count);
}

static int format(struct sink *sink, const char *at, va_list list)
{
    static const char flag_letters[] = "-0+ #";
    const char *from, *letter;
    int flags, width, precision, longs, c;
    long long value;
    char one;

    for (;;) {
        for (from = at; *at && *at != '%'; at++)
            ;
        put(sink, from, at - from);
        if (!*at++)
            return sink->count;
        flags = width = longs = 0;
        precision = -1;
        for (; *at && (letter = strchr(flag_letters, *at)) != NULL; at++)
            flags |= 1 << (letter - flag_letters);
        if (*at == '*') {
            width = va_arg(list, int);
            if (width < 0) {
                flags |= LEFT;
                width = -width;
            }
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
        if (flags & LEFT)
            flags &= ~ZERO;
        for (; *at == 'l' || *at == 'h' || *at == 'L' || *at == 'z' || *at == 't' || *at == 'j'; at++)
            longs += *at == 'l' ? 1 : *at == 'h' ? -1 : *at == 'z' || *at == 't' ? 0 : 2;
        c = *at++;
        switch (c) {
        case 'd':
        case 'i':
            value = longs >= 2 ? va_arg(list, long long) : va_arg(list, int);
            if (longs < 0)
                value = longs == -1 ? (short)value : (signed char)value;
            put_integer(sink, flags, width, precision, 'd', value);
            break;
        case 'u':
        case 'x':
        case 'X':
        case 'o':
            value = longs >= 2 ? va_arg(list, unsigned long long) : va_arg(list, unsigned int);
            if (longs < 0)
                value = longs == -1 ? (unsigned short)value : (unsigned char)value;
            put_integer(sink, flags, width, precision, c, value);
            break;
        case 'p':
            put_integer(sink, flags | ALTERNATE, width, precision, 'x', va_arg(list, unsigned int));
            break;
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            if (longs == 2)
                put_float(sink, flags, width, precision, c, va_arg(list, long double));
            else
                put_float(sink, flags, width, precision, c, va_arg(list, double));
            break;
        case 'c':
            one = va_arg(list, int);
            put_field(sink, flags & ~ZERO, width, "", 0, &one, 1);
            break;
        case 's':
            put_string(sink, flags, width, precision, va_arg(list, char *));
            break;
        case '%':
            pad(sink, '%', 1);
            break;
        default:
            fputs("printf: a format that this library does not know\n", stderr);
            abort();
        }
    }
}

int vfprintf(FILE *file, const char *text, va_list list)
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

int vsprintf(char *to, const char *text, va_list list)
{
    return vsnprintf(to, 0x7fffffff, text, list);
}

int vprintf(const char *text, va_list list)
{
    return vfprintf(stdout, text, list);
}

int printf(const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vfprintf(stdout, text, list);
}

int fprintf(FILE *file, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vfprintf(file, text, list);
}

int sprintf(char *to, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vsprintf(to, text, list);
}

int snprintf(char *to, size_t size, const char *text, ...)
{
    va_list list;

    va_start(list, text);
    return vsnprintf(to, size, text, list);
}

/* Knows %d, %x, %c and %s, white space, and characters that must be there. */
int sscanf(const char *from, const char *text, ...)
{
    va_list list;
    int count = 0;
    char *end, *to;

    va_start(list, text);
    for (; *text; text++) {
        if (isspace(*text)) {
            while (isspace(*from))
                from++;
            continue;
        }
        if (*text != '%') {
            if (*from++ != *text)
                return count;
            continue;
        }
        text++;
        if (*text != 'c')
            while (isspace(*from))
                from++;
        if (!*from)
            return count ? count : EOF;
        if (*text == 'd' || *text == 'x') {
            *va_arg(list, int *) = strtol(from, &end, *text == 'd' ? 10 : 16);
            if (end == from)
                return count;
            from = end;
        } else if (*text == 'c')
            *va_arg(list, char *) = *from++;
        else if (*text == 's') {
            for (to = va_arg(list, char *); *from && !isspace(*from); )
                *to++ = *from++;
            *to = 0;
        } else {
            fputs("sscanf: a format that this library does not know\n", stderr);
            abort();
        }
        count++;
    }
    return count;
}
