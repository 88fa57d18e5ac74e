/* Unpacks a tar archive (POSIX.1 ustar, with GNU's long names and pax paths):

   untar ARCHIVE DIRECTORY STRIP

   Files go below DIRECTORY, less the first STRIP parts of their names. Names that lead elsewhere are an error. */

enum { SYS_LINK = 9, SYS_MKDIR = 39, SYS_SYMLINK = 83, BLOCK = 512, LONGEST = 4000 };

char *archive_header;
char *archive_path;
char *archive_target;
int path_given;
int target_given;
char *destination;
int strip;

/* The next block in archive_header; NO at the end of the file */
int next_block(void)
{
    int i, byte;

    byte = next_byte();
    if (byte == END_OF_FILE)
        return NO;
    archive_header[0] = byte;
    for (i = 1; i < BLOCK; i++)
        archive_header[i] = need_byte();
    return YES;
}

/* A number in octal digits, which spaces or zeros end. */
int octal(int at, int length)
{
    int value, end;

    end = at + length;
    while (at < end && archive_header[at] == ' ')
        at++;
    value = 0;
    while (at < end && archive_header[at] >= '0' && archive_header[at] <= '7') {
        if (value > 0x0fffffff)
            fail_with(input_name, ": has a file of more than 2 GiB");
        value = value * 8 + archive_header[at++] - '0';
    }
    if (at < end && archive_header[at] && archive_header[at] != ' ')
        fail_with(input_name, ": is damaged: a number is wrong");
    return value;
}

int block_is_zero(void)
{
    int i;

    for (i = 0; i < BLOCK; i++)
        if (archive_header[i])
            return NO;
    return YES;
}

void check_header(void)
{
    int i, sum, wanted;

    wanted = octal(148, 8);
    sum = 0;
    for (i = 0; i < BLOCK; i++)
        if (i >= 148 && i < 156)
            sum += ' ';
        else
            sum += archive_header[i] & 255;
    if (sum != wanted)
        fail_with(input_name, ": is damaged or no tar archive: a header has another sum");
}

/* Adds a field of the header to a text of `used` bytes; the new length. */
int add_field(char *to, int used, int at, int length)
{
    while (length > 0 && archive_header[at]) {
        to[used++] = archive_header[at++];
        length--;
    }
    to[used] = 0;
    return used;
}

void take_names(void)
{
    int used;

    if (!path_given) {
        used = 0;
        if (archive_header[257] == 'u' && archive_header[262] == 0 && archive_header[345]) {
            used = add_field(archive_path, 0, 345, 155);
            archive_path[used++] = '/';
        }
        add_field(archive_path, used, 0, 100);
    }
    if (!target_given)
        add_field(archive_target, 0, 157, 100);
    path_given = NO;
    target_given = NO;
}

void skip_padding(int size)
{
    while (size % BLOCK) {
        need_byte();
        size++;
    }
}

/* The content of an entry as a text. */
char *take_text(int size)
{
    char *text;
    int i;

    if (size > 65536)
        fail_with(input_name, ": has a name that is too long");
    text = allocate(size + 1);
    for (i = 0; i < size; i++)
        text[i] = need_byte();
    skip_padding(size);
    return text;
}

void set_name(char *to, char *from, int length)
{
    if (length > LONGEST)
        fail_with(input_name, ": has a name that is too long");
    copy_bytes(to, from, length);
    to[length] = 0;
}

/* pax records: a length in decimal, a space, a key, "=", a value and a newline. */
void take_records(int size)
{
    char *text, *key, *end;
    int length, at;

    text = take_text(size);
    at = 0;
    while (at < size) {
        length = 0;
        key = text + at;
        while (is_digit(*key) && length < 100000)
            length = length * 10 + *key++ - '0';
        if (*key != ' ' || length > size - at || length < key - (text + at) + 3 || text[at + length - 1] != '\n')
            fail_with(input_name, ": is damaged: a pax record is wrong");
        key++;
        end = text + at + length - 1;
        if (end - key > 5 && equal_bytes(key, "path=", 5)) {
            set_name(archive_path, key + 5, end - key - 5);
            path_given = YES;
        }
        if (end - key > 9 && equal_bytes(key, "linkpath=", 9)) {
            set_name(archive_target, key + 9, end - key - 9);
            target_given = YES;
        }
        at += length;
    }
}

/* Where a name of the archive goes: below the destination, less its first parts; 0 if nothing is left. */
char *place_of(char *name)
{
    struct buffer *place;
    int parts, part, skipped;

    if (*name == '/')
        fail_with(name, ": is a name that leads out of the directory");
    place = new_buffer();
    put_text(place, destination);
    parts = 0;
    skipped = 0;
    while (*name) {
        part = 0;
        while (name[part] && name[part] != '/')
            part++;
        if (part == 2 && name[0] == '.' && name[1] == '.')
            fail_with(name, ": is a name that leads out of the directory");
        if (part > 0 && !(part == 1 && name[0] == '.')) {
            if (skipped < strip)
                skipped++;
            else {
                put_byte(place, '/');
                while (part > 0) {
                    put_byte(place, *name++);
                    part--;
                }
                parts++;
            }
        }
        name = name + part;
        while (*name == '/')
            name++;
    }
    if (parts == 0)
        return 0;
    put_byte(place, 0);
    return place->buffer_bytes;
}

/* Makes the directories that lead to a place. */
void make_parents(char *place)
{
    int i;

    for (i = length_of(destination) + 1; place[i]; i++)
        if (place[i] == '/') {
            place[i] = 0;
            syscall(SYS_MKDIR, (int)place, 493, 0);
            place[i] = '/';
        }
}

void take_file(char *place, int size, int mode)
{
    int left;

    if (mode & 64)
        mode = 493;
    else
        mode = 420;
    make_parents(place);
    open_output(place, mode);
    for (left = size; left > 0; left--)
        write_byte(need_byte());
    close_output();
    skip_padding(size);
}

void take_link(char *place, int number, char *target)
{
    make_parents(place);
    syscall(SYS_UNLINK, (int)place, 0, 0);
    if (syscall(number, (int)target, (int)place, 0) < 0)
        fail_with(place, ": this link cannot be made");
}

void skip(int size)
{
    int left;

    for (left = size; left > 0; left--)
        need_byte();
    skip_padding(size);
}

/* One entry, whose header has been read. */
void take_entry(void)
{
    int kind, size, mode;
    char *place, *target;

    kind = archive_header[156];
    size = octal(124, 12);
    mode = octal(100, 8);
    if (kind == 'L' || kind == 'K') {
        target = take_text(size);
        if (kind == 'L') {
            set_name(archive_path, target, length_of(target));
            path_given = YES;
        } else {
            set_name(archive_target, target, length_of(target));
            target_given = YES;
        }
        return;
    }
    if (kind == 'x') {
        take_records(size);
        return;
    }
    if (kind == 'g') {
        skip(size);
        return;
    }
    take_names();
    place = place_of(archive_path);
    if (kind == '0' || kind == '7' || kind == 0) {
        if (place)
            take_file(place, size, mode);
        else
            skip(size);
    } else if (kind == '5') {
        if (place) {
            make_parents(place);
            syscall(SYS_MKDIR, (int)place, 493, 0);
        }
    } else if (kind == '2') {
        if (place)
            take_link(place, SYS_SYMLINK, archive_target);
    } else if (kind == '1') {
        target = place_of(archive_target);
        if (place && target)
            take_link(place, SYS_LINK, target);
    } else
        fail_with(archive_path, ": is of a kind that is not unpacked here");
}

int main(int argc, char **argv)
{
    program = "untar";
    if (argc != 4 || !is_digit(argv[3][0]) || argv[3][1])
        fail("give the archive, a directory, and how many parts of names are left out");
    archive_header = allocate(BLOCK);
    archive_path = allocate(LONGEST + 1);
    archive_target = allocate(LONGEST + 1);
    destination = argv[2];
    strip = argv[3][0] - '0';
    syscall(SYS_MKDIR, (int)destination, 493, 0);
    open_input(argv[1]);
    while (next_block()) {
        if (block_is_zero())
            return 0;
        check_header();
        take_entry();
    }
    fail_with(input_name, ": is cut off: it has no end");
    return 1;
}
