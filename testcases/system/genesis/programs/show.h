/* Prints a floating number by its bytes, as our printf does not know such numbers. */
#include <stdio.h>
static void show(long double value)
{
    const unsigned char *p = (const unsigned char *)&value;
    int i;
    for (i = 9; i >= 0; i--)
        printf("%02x", p[i]);
    printf("\n");
}
