/* Unpacks an xz file: unxz INPUT OUTPUT. Checks all CRCs, and the index against the blocks.

   The formats are those of "The .xz File Format" 1.1 and of LZMA's specification (LZMA SDK). A stream is a header,
   blocks, an index of their sizes, and a footer. A block is chunks of LZMA2: bytes as they are, or LZMA data, which a
   range decoder reads bit by bit, each with its own probability of being 0. Of filters, LZMA2 is known, of checks none,
   CRC32 and CRC64, which are what xz makes without being asked for others. */

enum { SIGN = -2147483647 - 1, LARGEST_WINDOW = 402653184 };

/* Where the probabilities begin: 12 states, 16 positions; then two coders of lengths; then those of literals. */
enum {
    IS_MATCH = 0, IS_REPEAT = 192, IS_REPEAT_0 = 204, IS_REPEAT_1 = 216, IS_REPEAT_2 = 228, IS_LONG = 240,
    SLOTS = 432, DISTANCES = 688, ALIGN = 803, LENGTH = 819, REPEAT_LENGTH = 1333, LITERALS = 1847,
    PROBABILITIES = 14135
};

int taken; /* bytes of the input since a header's or block's beginning */
int header_crc;
int crc_table[256];
int crc64_low[256];
int crc64_high[256];

int check_kind;
int check_size;
int check_low;
int check_high;

char *window; /* the last bytes of the output, round and round */
int window_size;
int window_at;
int position; /* bytes since the dictionary was reset */
int unpacked; /* bytes of this block */

int *probability;
int range;
int code;
int chunk_left; /* bytes of the chunk still to be read */
int state;
int distance_0;
int distance_1;
int distance_2;
int distance_3;
int literal_bits;
int literal_mask;
int position_mask;

int records;
int record_room;
int *record_packed;
int *record_unpacked;

void damaged(char *message)
{
    fail_with(input_name, message);
}

/* A logical shift */
int shifted(int value, int count)
{
    return (value >> count) & (0x7fffffff >> (count - 1));
}

void make_crc_tables(void)
{
    int i, k, low, high, bit;

    for (i = 0; i < 256; i++) {
        low = i;
        for (k = 0; k < 8; k++)
            low = low & 1 ? shifted(low, 1) ^ 0xedb88320 : shifted(low, 1);
        crc_table[i] = low;
        low = i;
        high = 0;
        for (k = 0; k < 8; k++) {
            bit = low & 1;
            low = shifted(low, 1) | high << 31;
            high = shifted(high, 1);
            if (bit) {
                low ^= 0xd7870f42;
                high ^= 0xc96c5795;
            }
        }
        crc64_low[i] = low;
        crc64_high[i] = high;
    }
}

int take(void)
{
    int byte;

    byte = need_byte();
    taken++;
    header_crc = crc_table[(header_crc ^ byte) & 255] ^ shifted(header_crc, 8);
    return byte;
}

/* 4 bytes, lowest first */
int take_word(void)
{
    int word;

    word = take();
    word |= take() << 8;
    word |= take() << 16;
    return word | take() << 24;
}

void take_crc(char *message)
{
    int expected;

    expected = ~header_crc;
    if (take_word() != expected)
        damaged(message);
}

/* A number of variable size; none of 2 GiB or more occurs in what we can unpack. */
int take_number(void)
{
    int byte, value, shift;

    value = 0;
    shift = 0;
    do {
        byte = take();
        if (shift > 28 || (shift == 28 && (byte & 127) > 7) || (byte == 0 && shift))
            damaged(": is damaged, or too large");
        value |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return value;
}

/* Output */

void put(int byte)
{
    int i;

    write_byte(byte);
    window[window_at++] = byte;
    if (window_at == window_size)
        window_at = 0;
    position++;
    unpacked++;
    if (unpacked < 0)
        damaged(": has a block that is too large");
    if (check_kind == 1)
        check_low = crc_table[(check_low ^ byte) & 255] ^ shifted(check_low, 8);
    else if (check_kind == 4) {
        i = (check_low ^ byte) & 255;
        check_low = (((check_low >> 8) & 0xffffff) | check_high << 24) ^ crc64_low[i];
        check_high = ((check_high >> 8) & 0xffffff) ^ crc64_high[i];
    }
}

/* The byte at this distance before the next one; 0 is the last one. */
int before(int distance)
{
    int at;

    at = window_at - 1 - distance;
    if (at < 0)
        at += window_size;
    return window[at] & 255;
}

/* Range decoder */

int take_of_chunk(void)
{
    if (chunk_left == 0)
        damaged(": is damaged: a chunk has too few bytes");
    chunk_left--;
    taken++;
    return need_byte();
}

void start_range(void)
{
    int i;

    range = -1;
    code = 0;
    if (take_of_chunk() != 0)
        damaged(": is damaged: a chunk does not begin with 0");
    for (i = 0; i < 4; i++)
        code = code << 8 | take_of_chunk();
}

/* The next bit, by the probability with this number */
int bit(int number)
{
    int p, bound, result;

    p = probability[number];
    bound = ((range >> 11) & 0x1fffff) * p;
    if ((code ^ SIGN) < (bound ^ SIGN)) {
        range = bound;
        probability[number] = p + ((2048 - p) >> 5);
        result = 0;
    } else {
        range -= bound;
        code -= bound;
        probability[number] = p - (p >> 5);
        result = 1;
    }
    if ((range & 0xff000000) == 0) {
        range <<= 8;
        code = code << 8 | take_of_chunk();
    }
    return result;
}

/* Bits that are 0 and 1 equally often */
int direct_bits(int count)
{
    int result;

    result = 0;
    while (count-- > 0) {
        range = (range >> 1) & 0x7fffffff;
        code -= range;
        result <<= 1;
        if (code < 0)
            code += range;
        else
            result++;
        if ((range & 0xff000000) == 0) {
            range <<= 8;
            code = code << 8 | take_of_chunk();
        }
    }
    return result;
}

/* Numbers of some bits, whose probabilities form a tree: the highest bit first, and the lowest first */
int tree(int number, int bits)
{
    int node, i;

    node = 1;
    for (i = 0; i < bits; i++)
        node = node << 1 | bit(number + node);
    return node - (1 << bits);
}

int reverse_tree(int number, int bits)
{
    int node, i, b, result;

    node = 1;
    result = 0;
    for (i = 0; i < bits; i++) {
        b = bit(number + node);
        node = node << 1 | b;
        result |= b << i;
    }
    return result;
}

/* LZMA */

void reset_state(void)
{
    int i;

    state = 0;
    distance_0 = 0;
    distance_1 = 0;
    distance_2 = 0;
    distance_3 = 0;
    for (i = 0; i < PROBABILITIES; i++)
        probability[i] = 1024;
}

void take_literal(void)
{
    int number, symbol, like, offset, b;

    number = (position & literal_mask) << literal_bits;
    if (position)
        number += before(0) >> (8 - literal_bits);
    number = LITERALS + 768 * number;
    symbol = 1;
    if (state >= 7) {
        /* It differs from the byte at the last distance; up to the first bit that does, this byte counts. */
        like = before(distance_0);
        offset = 256;
        while (symbol < 256 && offset) {
            like <<= 1;
            b = bit(number + offset + (like & offset) + symbol);
            symbol = symbol << 1 | b;
            if (b)
                offset &= like;
            else
                offset &= ~like;
        }
    }
    while (symbol < 256)
        symbol = symbol << 1 | bit(number + symbol);
    put(symbol & 255);
    state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
}

int take_length(int number, int place)
{
    if (!bit(number))
        return 2 + tree(number + 2 + place * 8, 3);
    if (!bit(number + 1))
        return 10 + tree(number + 130 + place * 8, 3);
    return 18 + tree(number + 258, 8);
}

int take_distance(int length)
{
    int slot, bits, distance;

    slot = tree(SLOTS + 64 * (length < 6 ? length - 2 : 3), 6);
    if (slot < 4)
        return slot;
    bits = (slot >> 1) - 1;
    distance = (2 | (slot & 1)) << bits;
    if (slot < 14)
        return distance + reverse_tree(DISTANCES + distance - slot, bits);
    distance += direct_bits(bits - 4) << 4;
    return distance + reverse_tree(ALIGN, 4);
}

/* A distance that was used before; the last ones come first from now on. */
void take_repeated_distance(void)
{
    int distance;

    if (!bit(IS_REPEAT_1 + state))
        distance = distance_1;
    else {
        if (!bit(IS_REPEAT_2 + state))
            distance = distance_2;
        else {
            distance = distance_3;
            distance_3 = distance_2;
        }
        distance_2 = distance_1;
    }
    distance_1 = distance_0;
    distance_0 = distance;
}

/* The length of the next match; its distance goes to distance_0. */
int take_match(int place)
{
    int length;

    if (!bit(IS_REPEAT + state)) {
        distance_3 = distance_2;
        distance_2 = distance_1;
        distance_1 = distance_0;
        length = take_length(LENGTH, place);
        state = state < 7 ? 7 : 10;
        distance_0 = take_distance(length);
        return length;
    }
    if (!bit(IS_REPEAT_0 + state)) {
        if (!bit(IS_LONG + state * 16 + place)) {
            state = state < 7 ? 9 : 11;
            return 1;
        }
    } else
        take_repeated_distance();
    length = take_length(REPEAT_LENGTH, place);
    state = state < 7 ? 8 : 11;
    return length;
}

void take_lzma(int count)
{
    int place, length;

    start_range();
    while (count > 0) {
        place = position & position_mask;
        if (!bit(IS_MATCH + state * 16 + place)) {
            take_literal();
            count--;
        } else {
            length = take_match(place);
            if (distance_0 < 0 || distance_0 >= window_size || (position >= 0 && distance_0 >= position))
                damaged(": is damaged: a match begins before the data");
            if (length > count)
                damaged(": is damaged: a match is longer than its chunk");
            count -= length;
            while (length-- > 0)
                put(before(distance_0));
        }
    }
    if (code != 0 || chunk_left != 0)
        damaged(": is damaged: a chunk does not end where it should");
}

void take_properties(void)
{
    int value, positions, literals;

    value = take();
    if (value >= 225)
        damaged(": is damaged: impossible properties");
    literal_bits = value % 9;
    literals = value / 9 % 5;
    positions = value / 45;
    if (literal_bits + literals > 4)
        damaged(": is damaged: impossible properties");
    literal_mask = (1 << literals) - 1;
    position_mask = (1 << positions) - 1;
}

int take_size(void)
{
    int high;

    high = take();
    return (high << 8 | take()) + 1;
}

/* The chunks of a block. At first the dictionary must be reset (3); after that there must be properties (2). */
void take_chunks(void)
{
    int control, count, needed;

    needed = 3;
    for (control = take(); control; control = take()) {
        if (control == 1 || control >= 0xe0) {
            position = 0;
            needed = 2;
        } else if (needed == 3)
            damaged(": is damaged: the dictionary is not reset at first");
        if (control < 0x80) {
            if (control > 2)
                damaged(": is damaged: there is no such chunk");
            for (count = take_size(); count > 0; count--)
                put(take());
        } else {
            count = (control & 31) << 16;
            count += take_size();
            chunk_left = take_size();
            if (((control >> 5) & 3) < needed)
                damaged(": is damaged: properties are missing");
            if (control >= 0xc0) {
                take_properties();
                needed = 0;
            }
            if (control >= 0xa0)
                reset_state();
            take_lzma(count);
        }
    }
}

/* Containers */

void take_padding(void)
{
    while (taken & 3)
        if (take())
            damaged(": is damaged: padding must be zero");
}

void make_window(int code)
{
    int size;

    if (code > 37)
        damaged(": needs too much memory");
    size = (2 | (code & 1)) << (code / 2 + 11);
    if (size > LARGEST_WINDOW)
        damaged(": needs too much memory");
    if (size > window_size)
        window = allocate(size);
    window_size = size;
    window_at = 0;
}

void take_block_header(int size, int *packed, int *plain)
{
    int flags;

    flags = take();
    if (flags & 0x3f)
        damaged(": has filters that are not known");
    *packed = -1;
    *plain = -1;
    if (flags & 0x40)
        *packed = take_number();
    if (flags & 0x80)
        *plain = take_number();
    if (take_number() != 0x21 || take_number() != 1)
        damaged(": has filters that are not known");
    make_window(take());
    while (taken < size)
        if (take())
            damaged(": is damaged: padding must be zero");
    if (taken > size)
        damaged(": is damaged: a header is too long");
    take_crc(": is damaged: the CRC of a header is wrong");
}

void add_record(int packed, int plain)
{
    int *old_packed, *old_plain, i;

    if (records == record_room) {
        old_packed = record_packed;
        old_plain = record_unpacked;
        record_room = record_room * 2 + 16;
        record_packed = (int *)allocate(record_room * sizeof(int));
        record_unpacked = (int *)allocate(record_room * sizeof(int));
        for (i = 0; i < records; i++) {
            record_packed[i] = old_packed[i];
            record_unpacked[i] = old_plain[i];
        }
    }
    record_packed[records] = packed;
    record_unpacked[records++] = plain;
}

/* A block whose header has this size; its first byte is read. */
void take_block(int size)
{
    int packed, plain, header;

    take_block_header(size, &packed, &plain);
    header = taken;
    check_low = -1;
    check_high = -1;
    unpacked = 0;
    take_chunks();
    if ((packed >= 0 && packed != taken - header) || (plain >= 0 && plain != unpacked))
        damaged(": is damaged: a block has another size than its header says");
    packed = taken;
    take_padding();
    if (check_kind && take_word() != ~check_low)
        damaged(": is damaged: the CRC of a block is wrong");
    if (check_kind == 4 && take_word() != ~check_high)
        damaged(": is damaged: the CRC of a block is wrong");
    add_record(packed + check_size, unpacked);
}

/* The index, whose first byte is read; it must tell what the blocks were. Its size is the result. */
int take_index(void)
{
    int i;

    if (take_number() != records)
        damaged(": is damaged: the index does not fit the blocks");
    for (i = 0; i < records; i++)
        if (take_number() != record_packed[i] || take_number() != record_unpacked[i])
            damaged(": is damaged: the index does not fit the blocks");
    take_padding();
    take_crc(": is damaged: the CRC of the index is wrong");
    return taken;
}

void take_stream_flags(void)
{
    if (take())
        damaged(": is of a kind that is not known");
    check_kind = take();
    if (check_kind != 0 && check_kind != 1 && check_kind != 4)
        damaged(": has a check that is not known");
    check_size = check_kind == 0 ? 0 : check_kind == 1 ? 4 : 8;
}

/* A stream, of whose beginning one byte is read */
void take_stream(void)
{
    int size, kind, crc;

    if (take() != '7' || take() != 'z' || take() != 'X' || take() != 'Z' || take() != 0)
        damaged(": is no xz file");
    header_crc = -1;
    take_stream_flags();
    take_crc(": is damaged: the CRC of a header is wrong");
    kind = check_kind;
    records = 0;
    for (;;) {
        taken = 0;
        header_crc = -1;
        size = take();
        if (size == 0)
            break;
        take_block(size * 4);
    }
    size = take_index();
    crc = take_word();
    header_crc = -1;
    if (shifted(size, 2) - 1 != take_word())
        damaged(": is damaged: the end does not fit the index");
    take_stream_flags();
    if (kind != check_kind || crc != ~header_crc)
        damaged(": is damaged: the end does not fit the beginning");
    if (take() != 'Y' || take() != 'Z')
        damaged(": is damaged: the end is missing");
}

int main(int argc, char **argv)
{
    int byte, zeros;

    program = "unxz";
    if (argc != 3)
        fail("give the file to unpack and the file to make");
    make_crc_tables();
    probability = (int *)allocate(PROBABILITIES * sizeof(int));
    open_input(argv[1]);
    open_output(argv[2], 420);
    if (next_byte() != 0xfd)
        damaged(": is no xz file");
    take_stream();
    zeros = 0;
    for (byte = next_byte(); byte != END_OF_FILE; byte = next_byte()) {
        if (byte == 0)
            zeros++;
        else if (byte == 0xfd && (zeros & 3) == 0) {
            take_stream();
            zeros = 0;
        } else
            damaged(": has something behind its end");
    }
    if (zeros & 3)
        damaged(": has something behind its end");
    close_output();
    return 0;
}
