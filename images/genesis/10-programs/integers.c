/* Integers of 8 to 64 bits: arithmetic, shifts, comparisons and conversions. */
#include "check.h"
#include <stdint.h>

static uint64_t power(uint64_t base, unsigned exponent)
{
    uint64_t result = 1;

    while (exponent--)
        result *= base;
    return result;
}

int main(void)
{
    volatile int minus_seven = -7;
    volatile unsigned large = 4000000000u;
    volatile int64_t low = INT64_MIN;
    volatile uint64_t high = UINT64_MAX;
    volatile signed char c = (signed char)200;

    CHECK(minus_seven / 2 == -3 && minus_seven % 2 == -1);
    CHECK(minus_seven >> 1 == -4);
    CHECK(large / 3 == 1333333333 && large > 1);
    CHECK(minus_seven > -8 && (unsigned)minus_seven > 8);
    CHECK(c == -56 && (unsigned char)c == 200);
    CHECK(power(3, 40) == 12157665459056928801ull);
    CHECK(power(3, 40) / 1000000007 == 12157665373u);
    CHECK(power(3, 40) % 1000000007 == 953271190);
    CHECK(low / -3 == 3074457345618258602ll && low % 10 == -8);
    CHECK(low >> 63 == -1 && high >> 63 == 1 && high << 63 == (uint64_t)low);
    CHECK((int64_t)high < 0 && high > 0);
    CHECK((uint32_t)(high / 4294967297ull) == 4294967295u);
    puts("integers: right");
    return 0;
}
