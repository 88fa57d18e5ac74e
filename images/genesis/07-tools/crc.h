/* CRC-32 as gzip and xz have it: a byte's lowest bit comes first. */
unsigned crc_table[256];

void make_crc_table(void)
{
    for (unsigned i = 0; i < 256; i++) {
        unsigned value = i;

        for (int k = 0; k < 8; k++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
        crc_table[i] = value;
    }
}

unsigned next_crc(unsigned crc, int byte)
{
    return crc_table[(crc ^ byte) & 255] ^ crc >> 8;
}
