/* System calls, memory, text, files and errors. */

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6 };
enum { NO = 0, YES = 1 };

void fail(char *message);

/* tcc takes 54 MB. Input that needs more than this makes the program run wild, such as a macro that doubles itself. */
enum { MEMORY = 134217728 };
char memory[MEMORY];
int memory_limit = 134152192;   /* the rest is for the message that all is used up */
int memory_used;

/* Zeroed memory; it is never given back. */
char *allocate(int size)
{
    size = (size + 3) & ~3;
    if (size < 0 || size > memory_limit - memory_used) {
        memory_limit = MEMORY;
        fail("out of memory");
    }
    memory_used += size;
    return memory + memory_used - size;
}

/* Bytes */

void copy_bytes(char *to, char *from, int count)
{
    while (count > 0) {
        *to++ = *from++;
        count--;
    }
}

int equal_bytes(char *a, char *b, int count)
{
    while (count > 0) {
        if (*a++ != *b++)
            return NO;
        count--;
    }
    return YES;
}

int length_of(char *text)
{
    int length = 0;
    while (text[length])
        length++;
    return length;
}

char *copy_text(char *from, int length)
{
    char *result = allocate(length + 1);
    copy_bytes(result, from, length);
    return result;
}

int is_digit(int c)
{
    return c >= '0' && c <= '9';
}

int is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The value of a digit in any base up to 36, or 99. */
int digit_value(int c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    return 99;
}

/* 1 if a < b as unsigned numbers */
int below(int a, int b)
{
    return (a ^ (-2147483647 - 1)) < (b ^ (-2147483647 - 1));
}

/* Buffers: bytes that grow */

struct buffer {
    char *buffer_bytes;
    int buffer_used;
    int buffer_room;
};

struct buffer *new_buffer(void)
{
    struct buffer *buffer;

    buffer = (struct buffer *)allocate(sizeof(struct buffer));
    buffer->buffer_room = 4096;
    buffer->buffer_bytes = allocate(4096);
    return buffer;
}

/* Grows the buffer to `size` bytes; new ones are zero. */
void extend(struct buffer *buffer, int size)
{
    if (size < 0)
        fail("out of memory");
    if (size > buffer->buffer_room) {
        while (size > buffer->buffer_room) {
            if (buffer->buffer_room > MEMORY / 2)
                fail("out of memory");
            buffer->buffer_room *= 2;
        }
        char *bytes = allocate(buffer->buffer_room);
        copy_bytes(bytes, buffer->buffer_bytes, buffer->buffer_used);
        buffer->buffer_bytes = bytes;
    }
    if (size > buffer->buffer_used)
        buffer->buffer_used = size;
}

void put_byte(struct buffer *buffer, int byte)
{
    int at = buffer->buffer_used;
    if (at < buffer->buffer_room)
        buffer->buffer_used = at + 1;
    else
        extend(buffer, at + 1);
    buffer->buffer_bytes[at] = byte;
}

void put_bytes(struct buffer *buffer, char *bytes, int count)
{
    while (count-- > 0)
        put_byte(buffer, *bytes++);
}

void put_text(struct buffer *buffer, char *text)
{
    put_bytes(buffer, text, length_of(text));
}

void put_decimal(struct buffer *buffer, int value)
{
    if (value < 0) {
        put_byte(buffer, '-');
        value = -value;
    }
    if (value >= 10)
        put_decimal(buffer, value / 10);
    put_byte(buffer, '0' + value % 10);
}

void set_word(struct buffer *buffer, int at, int value)
{
    char *to = buffer->buffer_bytes + at;
    to[0] = value;
    to[1] = value >> 8;
    to[2] = value >> 16;
    to[3] = value >> 24;
}

int get_word(struct buffer *buffer, int at)
{
    char *from = buffer->buffer_bytes + at;
    return (from[0] & 255) | (from[1] & 255) << 8 | (from[2] & 255) << 16 | from[3] << 24;
}

void put_word(struct buffer *buffer, int value)
{
    int at = buffer->buffer_used;
    extend(buffer, at + 4);
    set_word(buffer, at, value);
}

/* Files */

/* Whether all was written */
int write_all(int descriptor, char *bytes, int count)
{
    while (count > 0) {
        int written = syscall(SYS_WRITE, descriptor, (int)bytes, count);
        if (written <= 0)
            return NO;
        bytes = bytes + written;
        count -= written;
    }
    return YES;
}

/* The whole file in a buffer, or 0 if it cannot be read. */
struct buffer *read_file(char *path)
{
    int count;
    int descriptor = syscall(SYS_OPEN, (int)path, 0, 0);
    if (descriptor < 0)
        return 0;
    struct buffer *buffer = new_buffer();
    int used = 0;
    do {
        extend(buffer, used + 65536);
        count = syscall(SYS_READ, descriptor, (int)(buffer->buffer_bytes + used), 65536);
        if (count > 0)
            used += count;
    } while (count > 0);
    buffer->buffer_used = used;
    syscall(SYS_CLOSE, descriptor, 0, 0);
    if (count < 0)
        return 0;
    return buffer;
}

/* Errors end the program: `file:line: message`, or `cc: message` where no place is known. */

char *error_file;
int error_line;

void fail_about(char *before, char *subject, int length, char *after)
{
    struct buffer *text = new_buffer();
    if (error_file) {
        put_text(text, error_file);
        put_byte(text, ':');
        put_decimal(text, error_line);
    } else
        put_text(text, "cc");
    put_text(text, ": ");
    put_text(text, before);
    put_bytes(text, subject, length > 60 ? 60 : length);
    put_text(text, after);
    put_byte(text, '\n');
    write_all(2, text->buffer_bytes, text->buffer_used);
    syscall(SYS_EXIT, 1, 0, 0);
}

void fail(char *message)
{
    fail_about(message, "", 0, "");
}
