/* Floating numbers: constants, conversions, comparisons, rounding to each type */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
volatile double two = 2, nan_maker = 0;
static float table[] = { 1, 2.5f, -3, 1e10, 0.1f, 1e-40f };
static double doubles[] = { 0.1, -1e300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 123456789, 0x1.8p3, -0.0 };
static long double longs[] = { 0.1L, 1e4000L, 3.6e-4951L, 18446744073709551615.0L };
static void bytes(const void *at, int count)
{
    const unsigned char *p = at;
    while (count--)
        printf("%02x", *p++);
    printf("\n");
}
static double half(double x) { return x / two; }
static float single(float x) { return x * 1.1f; }
static long double extended(long double x) { return x * x; }
int main(void)
{
    unsigned i;
    double nan = nan_maker / nan_maker, x;
    long long big = 9007199254740993LL;
    unsigned long long huge = 18446744073709551615ULL;
    for (i = 0; i < sizeof table / sizeof *table; i++)
        bytes(&table[i], 4);
    for (i = 0; i < sizeof doubles / sizeof *doubles; i++)
        bytes(&doubles[i], 8);
    for (i = 0; i < sizeof longs / sizeof *longs; i++)
        bytes(&longs[i], 10);
    printf("%g %g %Lg\n", half(3), single(2), extended(1e2000L));
    printf("%d %d %d %d %d %d\n", nan < 1, nan > 1, nan == nan, nan != nan, nan <= 1, !(nan >= 1));
    printf("%d %d %d %d\n", two < 3, two > 3, two == 2, two != 2);
    printf("%d %u %lld %llu\n", (int)(two * -1.75), (unsigned)(two * 2e9), (long long)(two * -1e15), (unsigned long long)(two * 9e18));
    x = big; printf("%.0f\n", x);
    x = huge; printf("%.0f\n", x);
    printf("%.0f %.0f\n", (double)4294967295u, (double)-1);
    printf("%d %d\n", nan_maker ? 1 : 2, !two);
    x = 1; x += 2; x *= 1.5; x -= 0.25f; x /= 3; x++; printf("%g\n", x); printf("%g ", x--); printf("%g\n", x);
    printf("%.20g %.3f %e %g\n", 0.1, 2.0005, 12345.678, 1e-5);
    printf("%g %g %g\n", strtod("1.7976931348623157e308", 0), strtod("-0x", 0), strtod("  2.5e-3z", 0));
    printf("%g %g %g\n", ldexp(1, 1000), ldexp(3, -1074), ldexp(-1.5, 4));
    { float f = 16777217; double d = f; printf("%.1f %d\n", d, (float)0.1 == 0.1); }
    { char c = 300.7 - 200; short s = -1.5; printf("%d %d\n", c, s); }
    printf("%d\n", (int)(DBL_MAX > FLT_MAX) + (LDBL_MAX > DBL_MAX));
    return 0;
}
