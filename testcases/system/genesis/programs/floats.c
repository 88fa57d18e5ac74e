/* Floating numbers: constants, conversions, comparisons, rounding to each type */
#include <math.h>
#include <stdlib.h>
#include "show.h"
volatile double two = 2, nan_maker = 0;
static float table[] = { 1, 2.5f, -3, 1e10, 0.0078125f, 16777217, 16777219, 33554431 };
static double doubles[] = { 0.5, -1e20, 1e22, 123456789, .5e1, 5.e-1, -0.0, 0x1.8p3, 0xABCDE.F8p-100, 9007199254740993, 18446744073709551615.0 };
static long double longs[] = { 0.25L, 1e27L, 18446744073709551615.0L, 7450580596923828125e-27L };
static void bytes(const void *at, int count)
{
    const unsigned char *p = at;
    while (count--)
        printf("%02x", *p++);
    printf("\n");
}
static double half(double x) { return x / two; }
static float single(float x) { return x * 1.125f; }
static long double extended(long double x) { return x * x; }
int main(void)
{
    unsigned i;
    double nan = nan_maker / nan_maker, x, tenth = strtod("0.1", 0);
    long long big = 9007199254740993LL;
    unsigned long long huge = 18446744073709551615ULL;
    for (i = 0; i < sizeof table / sizeof *table; i++)
        bytes(&table[i], 4);
    for (i = 0; i < sizeof doubles / sizeof *doubles; i++)
        bytes(&doubles[i], 8);
    for (i = 0; i < sizeof longs / sizeof *longs; i++)
        bytes(&longs[i], 10);
    show(half(3)); show(single(2)); show(extended(1e20L));
    printf("%d %d %d %d %d %d\n", nan < 1, nan > 1, nan == nan, nan != nan, nan <= 1, !(nan >= 1));
    printf("%d %d %d %d\n", two < 3, two > 3, two == 2, two != 2);
    printf("%d %u %lld %llu\n", (int)(two * -1.75), (unsigned)(two * 2e9), (long long)(two * -1e15), (unsigned long long)(two * 9e18));
    x = big; show(x);
    x = huge; show(x);
    show((double)4294967295u); show((double)-1);
    printf("%d %d\n", nan_maker ? 1 : 2, !two);
    x = 1; x += 2; x *= 1.5; x -= 0.25f; x /= 3; x++; show(x); show(x--); show(x);
    show(tenth); show(strtof("0.1", 0)); show(strtold("0.1", 0)); show(strtod("-0x", 0)); show(strtod("  2.5e-3z", 0));
    show(strtod("1.7976931348623157e308", 0)); show(strtod("5e-324", 0)); show(strtod("2.2250738585072014e-308", 0)); show(strtof("1e-40", 0));
    show(ldexp(1, 1000)); show(ldexp(3, -1074)); show(ldexp(-1.5, 4));
    { float f = 16777217; double d = f; show(d); printf("%d\n", (float)tenth == tenth); }
    { char c = 300.75 - 200; short s = -1.5; printf("%d %d\n", c, s); }
    return 0;
}
