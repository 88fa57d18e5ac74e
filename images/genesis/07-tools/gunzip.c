/* Unpacks a gzip file (RFC 1951, RFC 1952): gunzip INPUT OUTPUT. Checks length and CRC-32 of each member. */
#include "tools.h"

enum { WINDOW = 32768 };
unsigned char window[WINDOW];
unsigned member_size, crc, crc_table[256];
int bits_held, bits_count;

/* A byte's lowest bit comes first. */
void make_crc_table(void)
{
    for (unsigned i = 0; i < 256; i++) {
        unsigned value = i;

        for (int k = 0; k < 8; k++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
        crc_table[i] = value;
    }
}

void put(int byte)
{
    window[member_size++ % WINDOW] = byte;
    crc = crc_table[(crc ^ byte) & 255] ^ crc >> 8;
    write_byte(byte);
}

/* The next bits of the input, the first one lowest; count <= 16 */
int take_bits(int count)
{
    for (; bits_count < count; bits_count += 8)
        bits_held |= need_byte() << bits_count;
    int value = bits_held & ((1 << count) - 1);
    bits_held >>= count;
    bits_count -= count;
    return value;
}

#include "huffman.h"

struct code literals, distances;
int code_lengths[320];

int length_bases[] = {
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258
};
int length_bits[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
int distance_bases[] = {
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577
};
int distance_bits[] = {
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13
};
int order_of_lengths[] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

void drop_bits(void)
{
    bits_held = 0;
    bits_count = 0;
}

void take_stored(void)
{
    drop_bits();
    int length = take_bits(16);
    if (length != (take_bits(16) ^ 65535))
        damaged("is damaged: a stored block has two lengths");
    while (length-- > 0)
        put(need_byte());
}

void take_compressed(void)
{
    for (;;) {
        int symbol = take_symbol(&literals);
        if (symbol < 256) {
            put(symbol);
            continue;
        }
        if (symbol == 256)
            return;
        symbol -= 257;
        if (symbol > 28)
            damaged("is damaged: no such length");
        int length = length_bases[symbol] + take_bits(length_bits[symbol]);
        symbol = take_symbol(&distances);
        if (symbol > 29)
            damaged("is damaged: no such distance");
        unsigned distance = distance_bases[symbol] + take_bits(distance_bits[symbol]);
        if (distance > member_size)
            damaged("is damaged: it refers to what is before its begin");
        while (length-- > 0)
            put(window[(member_size - distance) % WINDOW]);
    }
}

void use_fixed_codes(void)
{
    for (int i = 0; i < 288; i++)
        code_lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_code(&literals, code_lengths, 288);
    for (int i = 0; i < 30; i++)
        code_lengths[i] = 5;
    make_code(&distances, code_lengths, 30);
}

void take_codes(void)
{
    int literal_count = take_bits(5) + 257;
    int distance_count = take_bits(5) + 1;
    int lengths = take_bits(4) + 4;
    memset(code_lengths, 0, sizeof(code_lengths));
    for (int i = 0; i < lengths; i++)
        code_lengths[order_of_lengths[i]] = take_bits(3);
    make_code(&literals, code_lengths, 19);
    for (int i = 0; i < literal_count + distance_count; ) {
        int value = take_symbol(&literals), repeat = 1;
        if (value == 16) {
            if (i == 0)
                damaged("is damaged: it repeats a length before the first");
            value = code_lengths[i - 1];
            repeat = 3 + take_bits(2);
        } else if (value > 16) {
            repeat = value == 17 ? 3 + take_bits(3) : 11 + take_bits(7);
            value = 0;
        }
        if (i + repeat > literal_count + distance_count)
            damaged("is damaged: it has too many lengths");
        while (repeat-- > 0)
            code_lengths[i++] = value;
    }
    if (literal_count > 286 || distance_count > 30)
        damaged("is damaged: it has too many lengths");
    make_code(&literals, code_lengths, literal_count);
    make_code(&distances, code_lengths + literal_count, distance_count);
}

unsigned take_word(void)
{
    unsigned low = take_bits(16);
    return low | take_bits(16) << 16;
}

void skip_text(void)
{
    while (need_byte())
        ;
}

/* The rest of a member's header, behind its first byte. */
void take_header(void)
{
    if (need_byte() != 139 || need_byte() != 8)
        damaged("is no gzip file");
    int flags = need_byte();
    if (flags & 224)
        damaged("has flags that RFC 1952 does not know");
    for (int i = 0; i < 6; i++)
        need_byte();
    if (flags & 4)
        for (int length = take_bits(16); length > 0; length--)
            need_byte();
    if (flags & 8)
        skip_text();
    if (flags & 16)
        skip_text();
    if (flags & 2)
        take_bits(16);
}

void take_member(void)
{
    drop_bits();
    take_header();
    member_size = 0;
    crc = -1;
    int last;
    do {
        last = take_bits(1);
        switch (take_bits(2)) {
        case 0:
            take_stored();
            break;
        case 1:
            use_fixed_codes();
            take_compressed();
            break;
        case 2:
            take_codes();
            take_compressed();
            break;
        default:
            damaged("is damaged: no such kind of block");
        }
    } while (!last);
    drop_bits();
    if (take_word() != ~crc)
        damaged("is damaged: its CRC is wrong");
    if (take_word() != member_size)
        damaged("is damaged: its length is wrong");
}

int main(int argc, char **argv)
{
    program = "gunzip";
    if (argc != 3)
        usage("give the file to unpack and the file to make");
    make_crc_table();
    open_input(argv[1]);
    open_output(argv[2], 0644);
    if (getc(input) != 31)
        damaged("is no gzip file");
    int byte;
    do {
        take_member();
        byte = getc(input);
    } while (byte == 31);
    if (byte != EOF)
        damaged("has something behind its end");
    close_output();
    return 0;
}
