/* Unpacks an xz file: unxz INPUT OUTPUT. Checks all CRCs, and the index against the blocks.

   The formats are those of "The .xz File Format" 1.1 and of LZMA's specification (LZMA SDK). A stream is a header,
   blocks, an index of their sizes, and a footer. A block is chunks of LZMA2: bytes as they are, or LZMA data, which a
   range decoder reads bit by bit, each with its own probability of being 0. Of filters, LZMA2 is known, of checks none,
   CRC32 and CRC64, which are what xz makes without being asked for others. */
#include "tools.h"
#include "crc.h"

enum { LARGEST_WINDOW = 0x4000000 };

/* Where the probabilities begin: 12 states, 16 positions; then two coders of lengths; then those of literals. */
enum {
    IS_MATCH = 0, IS_REPEAT = 192, IS_REPEAT_0 = 204, IS_REPEAT_1 = 216, IS_REPEAT_2 = 228, IS_LONG = 240,
    SLOTS = 432, DISTANCES = 688, ALIGN = 803, LENGTH = 819, REPEAT_LENGTH = 1333, LITERALS = 1847,
    PROBABILITIES = 14135
};

unsigned taken;         /* bytes of the input since a header's or block's beginning */
unsigned header_crc;
unsigned long long crc64_table[256];

int check_kind;         /* 0 none, 1 CRC32, 4 CRC64 */
unsigned check32;
unsigned long long check64;

unsigned char window[LARGEST_WINDOW];   /* the last bytes of the output, round and round */
unsigned window_size, window_at;
unsigned position;      /* bytes since the dictionary was reset */
unsigned unpacked;      /* bytes of this block */

unsigned short probability[PROBABILITIES];
unsigned range, code;
int chunk_left;         /* bytes of the chunk still to be read */
int state;
unsigned distances[4];  /* of the last matches, the newest first */
int literal_bits, literal_mask, position_mask;

/* The blocks of a stream: how many, and a sum over their sizes, which is made over those of the index too */
unsigned records, record_sum;

void make_crc64_table(void)
{
    for (int i = 0; i < 256; i++) {
        unsigned long long value = i;

        for (int k = 0; k < 8; k++)
            value = value >> 1 ^ (value & 1 ? 0xc96c5795d7870f42 : 0);
        crc64_table[i] = value;
    }
}

int take(void)
{
    int byte = need_byte();

    taken++;
    header_crc = next_crc(header_crc, byte);
    return byte;
}

/* 4 bytes, lowest first */
unsigned take_word(void)
{
    unsigned word = take();

    word |= take() << 8;
    word |= take() << 16;
    return word | take() << 24;
}

void take_crc(char *message)
{
    unsigned expected = ~header_crc;

    if (take_word() != expected)
        damaged(message);
}

/* A number of variable size; none of 4 GiB or more occurs in what we can unpack. */
unsigned take_number(void)
{
    unsigned byte, value = 0;
    int shift = 0;

    do {
        byte = take();
        if (shift > 28 || (shift == 28 && byte > 15) || (byte == 0 && shift))
            damaged("is damaged, or too large");
        value |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return value;
}

/* Output */

void put(int byte)
{
    write_byte(byte);
    window[window_at++] = byte;
    if (window_at == window_size)
        window_at = 0;
    position++;
    if (++unpacked == 0)
        damaged("has a block that is too large");
    if (check_kind == 1)
        check32 = next_crc(check32, byte);
    else if (check_kind == 4)
        check64 = crc64_table[(check64 ^ byte) & 255] ^ check64 >> 8;
}

/* The byte at this distance before the next one; 0 is the last one. */
int before(unsigned distance)
{
    return window[window_at > distance ? window_at - 1 - distance : window_at + window_size - 1 - distance];
}

/* Range decoder */

int take_of_chunk(void)
{
    if (chunk_left-- == 0)
        damaged("is damaged: a chunk has too few bytes");
    taken++;
    return need_byte();
}

void start_range(void)
{
    range = -1;
    code = 0;
    if (take_of_chunk() != 0)
        damaged("is damaged: a chunk does not begin with 0");
    for (int i = 0; i < 4; i++)
        code = code << 8 | take_of_chunk();
}

void fill_range(void)
{
    if (range < 0x1000000) {
        range <<= 8;
        code = code << 8 | take_of_chunk();
    }
}

/* The next bit, by the probability with this number */
int bit(int number)
{
    int p = probability[number], result;
    unsigned bound = (range >> 11) * p;

    if (code < bound) {
        range = bound;
        probability[number] = p + (2048 - p >> 5);
        result = 0;
    } else {
        range -= bound;
        code -= bound;
        probability[number] = p - (p >> 5);
        result = 1;
    }
    fill_range();
    return result;
}

/* Bits that are 0 and 1 equally often */
unsigned direct_bits(int count)
{
    unsigned result = 0;

    while (count-- > 0) {
        range >>= 1;
        result <<= 1;
        if (code >= range) {
            code -= range;
            result++;
        }
        fill_range();
    }
    return result;
}

/* Numbers of some bits, whose probabilities form a tree: the highest bit first, and the lowest first */
int tree(int number, int bits)
{
    int node = 1;

    for (int i = 0; i < bits; i++)
        node = node << 1 | bit(number + node);
    return node - (1 << bits);
}

int reverse_tree(int number, int bits)
{
    int node = 1, result = 0;

    for (int i = 0; i < bits; i++) {
        int b = bit(number + node);
        node = node << 1 | b;
        result |= b << i;
    }
    return result;
}

/* LZMA */

void reset_state(void)
{
    state = 0;
    memset(distances, 0, sizeof(distances));
    for (int i = 0; i < PROBABILITIES; i++)
        probability[i] = 1024;
}

void take_literal(void)
{
    int number = (position & literal_mask) << literal_bits, symbol = 1;

    if (position)
        number += before(0) >> (8 - literal_bits);
    number = LITERALS + 768 * number;
    if (state >= 7) {
        /* It differs from the byte at the last distance; up to the first bit that does, this byte counts. */
        int like = before(distances[0]), offset = 256;
        while (symbol < 256 && offset) {
            like <<= 1;
            int b = bit(number + offset + (like & offset) + symbol);
            symbol = symbol << 1 | b;
            offset &= b ? like : ~like;
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

unsigned take_distance(int length)
{
    int slot = tree(SLOTS + 64 * (length < 6 ? length - 2 : 3), 6), bits = (slot >> 1) - 1;

    if (slot < 4)
        return slot;
    unsigned distance = (2 | (slot & 1)) << bits;
    if (slot < 14)
        return distance + reverse_tree(DISTANCES + distance - slot, bits);
    distance += direct_bits(bits - 4) << 4;
    return distance + reverse_tree(ALIGN, 4);
}

/* Makes a distance the newest one; those newer than the one with this number move back. */
void use_distance(int number, unsigned distance)
{
    for (; number > 0; number--)
        distances[number] = distances[number - 1];
    distances[0] = distance;
}

/* The length of the next match; its distance becomes the newest one. */
int take_match(int place)
{
    if (!bit(IS_REPEAT + state)) {
        int length = take_length(LENGTH, place);
        state = state < 7 ? 7 : 10;
        use_distance(3, take_distance(length));
        return length;
    }
    if (!bit(IS_REPEAT_0 + state)) {
        if (!bit(IS_LONG + state * 16 + place)) {
            state = state < 7 ? 9 : 11;
            return 1;
        }
    } else {
        int number = !bit(IS_REPEAT_1 + state) ? 1 : !bit(IS_REPEAT_2 + state) ? 2 : 3;
        use_distance(number, distances[number]);
    }
    int length = take_length(REPEAT_LENGTH, place);
    state = state < 7 ? 8 : 11;
    return length;
}

void take_lzma(int count)
{
    start_range();
    while (count > 0) {
        int place = position & position_mask;
        if (!bit(IS_MATCH + state * 16 + place)) {
            take_literal();
            count--;
            continue;
        }
        int length = take_match(place);
        if (distances[0] >= window_size || distances[0] >= position)
            damaged("is damaged: a match begins before the data");
        if (length > count)
            damaged("is damaged: a match is longer than its chunk");
        count -= length;
        while (length-- > 0)
            put(before(distances[0]));
    }
    if (code != 0 || chunk_left != 0)
        damaged("is damaged: a chunk does not end where it should");
}

void take_properties(void)
{
    int value = take(), literals = value / 9 % 5;

    literal_bits = value % 9;
    if (value >= 225 || literal_bits + literals > 4)
        damaged("is damaged: impossible properties");
    literal_mask = (1 << literals) - 1;
    position_mask = (1 << value / 45) - 1;
}

int take_size(void)
{
    int high = take();

    return (high << 8 | take()) + 1;
}

/* The chunks of a block. At first the dictionary must be reset (3); after that there must be properties (2). */
void take_chunks(void)
{
    int control, needed = 3;

    while ((control = take()) != 0) {
        if (control == 1 || control >= 0xe0) {
            position = 0;
            needed = 2;
        } else if (needed == 3)
            damaged("is damaged: the dictionary is not reset at first");
        if (control < 0x80) {
            if (control > 2)
                damaged("is damaged: there is no such chunk");
            for (int count = take_size(); count > 0; count--)
                put(take());
            continue;
        }
        int count = (control & 31) << 16;
        count += take_size();
        chunk_left = take_size();
        if ((control >> 5 & 3) < needed)
            damaged("is damaged: properties are missing");
        if (control >= 0xc0) {
            take_properties();
            needed = 0;
        }
        if (control >= 0xa0)
            reset_state();
        take_lzma(count);
    }
}

/* Containers */

void take_padding(unsigned end)
{
    while (taken < end)
        if (take())
            damaged("is damaged: padding must be zero");
}

void make_window(int kind)
{
    if (kind > 28)
        damaged("needs too much memory");
    window_size = (2 | (kind & 1)) << (kind / 2 + 11);
    window_at = 0;
}

void add_record(unsigned packed, unsigned plain)
{
    record_sum = (record_sum * 69069 + packed) * 69069 + plain;
}

/* A block whose header has this size; its first byte is read. */
void take_block(unsigned size)
{
    int flags = take();
    unsigned packed = 0, plain = 0, header;

    if (flags & 0x3f)
        damaged("has filters that are not known");
    if (flags & 0x40)
        packed = take_number();
    if (flags & 0x80)
        plain = take_number();
    if (take_number() != 0x21 || take_number() != 1)
        damaged("has filters that are not known");
    make_window(take());
    take_padding(size);
    if (taken > size)
        damaged("is damaged: a header is too long");
    take_crc("is damaged: the CRC of a header is wrong");
    header = taken;
    check32 = -1;
    check64 = -1;
    unpacked = 0;
    take_chunks();
    if ((flags & 0x40 && packed != taken - header) || (flags & 0x80 && plain != unpacked))
        damaged("is damaged: a block has another size than its header says");
    packed = taken;
    take_padding((taken + 3) & ~3);
    if (check_kind == 1 && take_word() != ~check32)
        damaged("is damaged: the CRC of a block is wrong");
    if (check_kind == 4 && (take_word() != (unsigned)~check64 || take_word() != ~check64 >> 32))
        damaged("is damaged: the CRC of a block is wrong");
    add_record(packed + (check_kind == 4 ? 8 : check_kind * 4), unpacked);
    records++;
}

/* The index, whose first byte is read; it must tell what the blocks were. */
void take_index(void)
{
    unsigned expected = record_sum;

    record_sum = 0;
    if (take_number() != records)
        damaged("is damaged: the index does not fit the blocks");
    while (records-- > 0) {
        unsigned packed = take_number();
        add_record(packed, take_number());
    }
    if (record_sum != expected)
        damaged("is damaged: the index does not fit the blocks");
    take_padding((taken + 3) & ~3);
    take_crc("is damaged: the CRC of the index is wrong");
}

void take_stream_flags(void)
{
    if (take())
        damaged("is of a kind that is not known");
    check_kind = take();
    if (check_kind != 0 && check_kind != 1 && check_kind != 4)
        damaged("has a check that is not known");
}

/* A stream, of whose beginning one byte is read */
void take_stream(void)
{
    if (take() != '7' || take() != 'z' || take() != 'X' || take() != 'Z' || take() != 0)
        damaged("is no xz file");
    header_crc = -1;
    take_stream_flags();
    take_crc("is damaged: the CRC of a header is wrong");
    int kind = check_kind, size;
    records = record_sum = 0;
    for (;;) {
        taken = 0;
        header_crc = -1;
        size = take();
        if (size == 0)
            break;
        take_block(size * 4);
    }
    take_index();
    size = taken;
    unsigned crc = take_word();
    header_crc = -1;
    if (size / 4 - 1 != take_word())
        damaged("is damaged: the end does not fit the index");
    take_stream_flags();
    if (kind != check_kind || crc != ~header_crc)
        damaged("is damaged: the end does not fit the beginning");
    if (take() != 'Y' || take() != 'Z')
        damaged("is damaged: the end is missing");
}

int main(int argc, char **argv)
{
    int byte, zeros = 0;

    program = "unxz";
    if (argc != 3)
        usage("give the file to unpack and the file to make");
    make_crc_table();
    make_crc64_table();
    open_input(argv[1]);
    open_output(argv[2], 0644);
    if (getc(input) != 0xfd)
        damaged("is no xz file");
    take_stream();
    while ((byte = getc(input)) != EOF)
        if (byte == 0)
            zeros++;
        else if (byte == 0xfd && zeros % 4 == 0) {
            take_stream();
            zeros = 0;
        } else
            damaged("has something behind its end");
    if (zeros % 4)
        damaged("has something behind its end");
    close_output();
    return 0;
}
