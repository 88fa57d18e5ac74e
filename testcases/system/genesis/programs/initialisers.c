/* Initialisers: nested, without inner braces, strings, addresses, of unknown size, local ones with computed values */
#include <stdio.h>
struct point { int x, y; };
struct line { struct point from, to; char name[8]; };
static struct line lines[] = { { { 1, 2 }, { 3, 4 }, "one" }, { 5, 6, 7, 8, "two" }, 9, 10, 11, 12, { 't', 'h' } };
static int grid[][3] = { { 1, 2, 3 }, { 4 }, 7, 8, 9, };
static char text[] = "text", tight[4] = "abcd", braced[] = { "braced" }, *strings[] = { "x", "yy", text + 1, 0 };
static int value, *pointer = &value, *inner = &grid[2][1], (*function)(int), difference = (int)&((struct line *)0)->to;
static const struct point *ends[] = { &lines[0].from, &lines[2].to };
static int twice(int n) { return 2 * n; }
static int (*table[])(int) = { twice, &twice };
union { int i; char c[4]; } u = { 0x41424344 };
static struct { int n; union { struct { short a, b; }; int c; }; struct { int z; } deep; } mixed = { 1, { { 2, 3 } }, { 4 } };
static long long wide[2] = { 1LL << 40 };
static int later[4];
int main(int argc, char **argv)
{
    int i, j, local[] = { argc, argc + 1, twice(3) }, matrix[2][2] = { { 1 }, { argc } };
    struct line line = { { argc, 2 }, lines[1].from, "local" }, copy = line;
    char name[] = "name", padded[10] = "pad";
    static int counter = 5, *address = &counter;
    for (i = 0; i < (int)(sizeof lines / sizeof *lines); i++)
        printf("%d %d %d %d %s\n", lines[i].from.x, lines[i].from.y, lines[i].to.x, lines[i].to.y, lines[i].name);
    for (i = 0; i < (int)(sizeof grid / sizeof *grid); i++)
        for (j = 0; j < 3; j++)
            printf("%d ", grid[i][j]);
    printf("%s %.4s %s %s %s %d\n", text, tight, braced, strings[1], strings[2], strings[3] == 0);
    printf("%d %d %d %d\n", pointer == &value, *inner, difference, (int)sizeof text);
    printf("%d %d %d %d\n", ends[0]->y, ends[1]->y, table[0](4), (*table[1])(5));
    printf("%s %d %d %d %d %lld\n", u.c, mixed.n, mixed.a, mixed.b, mixed.deep.z, wide[0] + wide[1]);
    printf("%d %d %d %d %d %d\n", local[0], local[1], local[2], matrix[0][1], matrix[1][0], later[3]);
    printf("%d %d %d %s %s %s %d\n", copy.from.x, copy.to.x, copy.to.y, copy.name, name, padded, padded[9]);
    printf("%d %d\n", ++*address, counter);
    return sizeof lines / sizeof *lines;
}
