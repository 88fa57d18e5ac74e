/* Floating point in three widths, printed, read and computed. */
#include "check.h"
#include <float.h>
#include <math.h>

int main(void)
{
    volatile float third = 1.0f / 3;
    volatile double two = 2;
    volatile long double tiny = LDBL_EPSILON;
    volatile double nothing = 0;
    char text[100];
    double sum = 0;
    int i;

    CHECK(third != 1.0 / 3 && (float)(third * 3) == 1);
    CHECK(sqrt(two) * sqrt(two) - 2 < 1e-15);
    CHECK(1 + tiny != 1 && 1 + tiny / 2 == 1);
    CHECK(1 / nothing > DBL_MAX && nothing / nothing != nothing / nothing);
    for (i = 1; i <= 1000; i++)
        sum += 1.0 / i / i;
    sprintf(text, "%.12f %.3e %g %a", sum, -sum, two / 4, 1.5);
    CHECK(strcmp(text, "1.643934566682 -1.644e+00 0.5 0x1.8p+0") == 0);
    CHECK(strtod("0x1.8p1", 0) == 3 && strtod("1e-3", 0) == 0.001);
    CHECK(fabs(sin(1) - 0.84147098480789650665) < 1e-15);
    CHECK(fabs(pow(two, 0.5) - sqrt(two)) < 1e-15);
    CHECK((long long)1e18 == 1000000000000000000ll && (unsigned)3e9 == 3000000000u);
    CHECK((int)-2.9 == -2 && floor(-2.9) == -3);
    puts("floats: right");
    return 0;
}
