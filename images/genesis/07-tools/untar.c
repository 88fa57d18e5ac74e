/* Unpacks a tar archive (POSIX.1 ustar, with GNU's long names and pax paths):

   untar ARCHIVE DIRECTORY STRIP

   Files go below DIRECTORY, less the first STRIP parts of their names. Names that lead elsewhere are an error. */
#include "tools.h"

enum { BLOCK = 512, LONGEST = 65536 };

struct header {
    char name[100], mode[8], user[8], group[8], size[12], time[12], sum[8], kind, target[100];
    char magic[6], version[2], names[64], devices[16], prefix[155], rest[12];
} header;

/* Names that an entry before the current one gave it, or null; and where they are kept */
char *given_path, *given_target;
char path_text[LONGEST + 1], target_text[LONGEST + 1], records[LONGEST + 1];
char *destination;
int strip;

/* The next block; 0 at the end of the file */
int next_block(void *to)
{
    int got = fread(to, 1, BLOCK, input);

    if (got && got < BLOCK)
        damaged("is cut off");
    return got;
}

void need_block(void *to)
{
    if (!next_block(to))
        damaged("is cut off");
}

/* A number in octal digits, which spaces or zeros end. */
int octal(char *field, int length)
{
    char digits[13], *end;

    memcpy(digits, field, length);
    digits[length] = 0;
    unsigned long long value = strtoull(digits, &end, 8);
    if (*end && *end != ' ')
        damaged("is damaged: a number is wrong");
    if (value > 0x7fffffff)
        damaged("has a file of more than 2 GiB");
    return value;
}

void check_header(void)
{
    int sum = 8 * ' ';

    for (int i = 0; i < BLOCK; i++)
        if (i < 148 || i >= 156)
            sum += ((unsigned char *)&header)[i];
    if (sum != octal(header.sum, 8))
        damaged("is damaged or no tar archive: a header has another sum");
}

/* A field that a zero byte ends if it is not full, behind a prefix if there is one. */
char *text_of(char *text, char *prefix, char *field, int length)
{
    sprintf(text, *prefix ? "%.155s/%.*s" : "%.155s%.*s", prefix, length, field);
    return text;
}

/* The content of an entry as a text, which has room for whole blocks. */
char *take_text(char *text, int size)
{
    if (size > LONGEST)
        damaged("has a name that is too long");
    for (int at = 0; at < size; at += BLOCK)
        need_block(text + at);
    text[size] = 0;
    return text;
}

/* pax records: a length in decimal, a space, a key, "=", a value and a newline. */
void take_records(int size)
{
    char *at = take_text(records, size), *end = at + size, *key;

    while (at < end) {
        int length = strtol(at, &key, 10);
        if (*key != ' ' || length > end - at || length < key - at + 3 || at[length - 1] != '\n')
            damaged("is damaged: a pax record is wrong");
        at += length;
        at[-1] = 0;
        if (!strncmp(key, " path=", 6))
            given_path = key + 6;
        if (!strncmp(key, " linkpath=", 10))
            given_target = key + 10;
    }
}

/* Where a name of the archive goes: below the destination, less its first parts; null if nothing is left. */
char *place_of(char *name)
{
    char *place = malloc(strlen(destination) + strlen(name) + 2), *to = place + strlen(strcpy(place, destination));
    int skipped = 0, parts = 0;

    if (*name == '/')
        fail(name, "is a name that leads out of the directory");
    while (*name) {
        char *slash = strchr(name, '/');
        int length = slash ? slash - name : strlen(name);
        if (length == 2 && !strncmp(name, "..", 2))
            fail(name, "is a name that leads out of the directory");
        if (length > 0 && !(length == 1 && *name == '.') && skipped++ >= strip) {
            *to++ = '/';
            memcpy(to, name, length);
            to += length;
            parts++;
        }
        name += length + (slash != NULL);
    }
    *to = 0;
    return parts ? place : NULL;
}

/* Makes the directories that lead to a place. */
void make_parents(char *place)
{
    char *slash = place + strlen(destination);

    while ((slash = strchr(slash + 1, '/')) != NULL) {
        *slash = 0;
        make_directory(place);
        *slash = '/';
    }
}

/* The content of an entry, which is written if it has a place */
void take_file(char *place, int size, int mode)
{
    char block[BLOCK];

    if (place)
        open_output(place, mode & 0100 ? 0755 : 0644);
    for (; size > 0; size -= BLOCK) {
        need_block(block);
        int count = size < BLOCK ? size : BLOCK;
        if (place && fwrite(block, 1, count, output) != count)
            fail(output_name, "cannot be written");
    }
    if (place)
        close_output();
}

void take_link(char *place, int number, char *target)
{
    unlink(place);
    if (syscall(number, (int)target, (int)place, 0) < 0)
        fail(place, "this link cannot be made");
}

/* One entry, whose header has been read. */
void take_entry(void)
{
    int size = octal(header.size, 12);

    switch (header.kind) {
    case 'L': given_path = take_text(path_text, size); return;
    case 'K': given_target = take_text(target_text, size); return;
    case 'x': take_records(size); return;
    case 'g': take_file(NULL, size, 0); return;
    }
    char *prefix = !strcmp(header.magic, "ustar") ? header.prefix : "";
    char *path = given_path ? given_path : text_of(path_text, prefix, header.name, 100);
    char *target = given_target ? given_target : text_of(target_text, "", header.target, 100);
    char *place = place_of(path), *linked;
    given_path = given_target = NULL;
    if (place)
        make_parents(place);
    switch (header.kind) {
    case '0': case '7': case 0:
        take_file(place, size, octal(header.mode, 8));
        break;
    case '1':
        linked = place_of(target);
        if (place && linked)
            take_link(place, SYS_LINK, linked);
        free(linked);
        break;
    case '2':
        if (place)
            take_link(place, SYS_SYMLINK, target);
        break;
    case '5':
        if (place)
            make_directory(place);
        break;
    default:
        fail(path, "is of a kind that is not unpacked here");
    }
    free(place);
}

int main(int argc, char **argv)
{
    program = "untar";
    if (argc != 4 || !isdigit(argv[3][0]) || argv[3][1])
        usage("give the archive, a directory, and how many parts of names are left out");
    destination = argv[2];
    strip = argv[3][0] - '0';
    make_directory(destination);
    open_input(argv[1]);
    while (next_block(&header)) {
        if (!header.name[0] && !header.sum[0])
            return 0;
        check_header();
        take_entry();
    }
    fail(input_name, "is cut off: it has no end");
    return 1;
}
