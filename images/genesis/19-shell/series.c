/* Needs libc, floating point and the run's own number: prints SEED + 1/1^2 + 1/2^2 + ... + 1/1000^2. */
#include <stdio.h>

int main(void)
{
    double sum = 0;
    int k;
    for (k = 1000; k >= 1; k--)
        sum += 1.0 / ((double)k * k);
    printf("%.9f\n", SEED + sum);
    return 0;
}
