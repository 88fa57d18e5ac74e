/* Statements: loops, switch with fall-through, goto, conditions with side effects, the comma */
#include <stdio.h>
static int calls;
static int called(int value) { calls++; return value; }
static int sparse(int n)
{
    switch (n) {
    case -1000000: return 1;
    case 5: case 6: return 2;
    case 'a': n++;
    case 'c': return n;
    case 2147483647: return 3;
    case 100: { int inner = 4; return inner; }
    default: return -1;
    case -2147483647 - 1: return 5;
    case 7: break;
    case 8: case 9: case 10: case 11: case 12: return 6;
    }
    return 7;
}
static int duff(char *to, const char *from, int count)
{
    int n = (count + 3) / 4;
    switch (count % 4) {
    case 0: do { *to++ = *from++;
    case 3:      *to++ = *from++;
    case 2:      *to++ = *from++;
    case 1:      *to++ = *from++;
            } while (--n > 0);
    }
    return count;
}
int main(int argc, char **argv)
{
    int i, j, n = 0, tests[] = { -1000000, 5, 6, 97, 99, 2147483647, 100, 3, -2147483647 - 1, 7, 8, 12, 13 };
    char text[20];
    for (i = 0; i < (int)(sizeof tests / sizeof *tests); i++)
        printf("%d ", sparse(tests[i]));
    text[duff(text, "0123456789", 10)] = 0;
    printf("%s\n", text);
    for (int k = 0; ; k++) {
        if (k == 3) continue;
        if (k > 6) break;
        n += k;
    }
    do { n--; if (n % 2) continue; n -= 2; } while (n > 5);
    while (n < 50) { n *= 2; if (n > 30) break; }
    printf("%d\n", n);
    for (i = 0, j = 10; i < j; i++, j--)
        ;
    printf("%d %d\n", i, j);
again:
    if (n++ < 60) goto again;
    goto end;
    n = 0;
end:
    printf("%d\n", n);
    printf("%d %d ", called(0) && called(1), called(1) || called(0));
    printf("%d ", calls);
    printf("%d ", !called(3));
    printf("%d\n", (called(1), called(2), calls));
    if (called(0) || (called(1) && !called(0))) printf("yes\n"); else printf("no\n");
    i = argc ? called(4) : called(5);
    printf("%d %d\n", i, calls);
    { int i = 99; { int i = 100; printf("%d ", i); } printf("%d\n", i); }
    return n & 127;
}
