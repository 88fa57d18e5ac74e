#define GCOV_VERSION ((gcov_unsigned_t)0x3330342a)
