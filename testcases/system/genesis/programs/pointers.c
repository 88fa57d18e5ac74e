/* Pointers: arithmetic, arrays of arrays, functions, void *, comparisons, ++ and -- everywhere */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef int (*operation)(int, int);
static int add(int a, int b) { return a + b; }
static int sub(int a, int b) { return a - b; }
static operation choose(int which) { return which ? add : sub; }
static int (*other(int which))(int, int) { return which ? &sub : *add; }
static int apply(int f(int, int), int a, int b) { return (*f)(a, b) + f(a, b); }
static int total(int rows[][3], int n) { int i, sum = 0; for (i = 0; i < n * 3; i++) sum += (*rows)[i]; return sum; }
static int order(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv)
{
    int numbers[] = { 5, 3, 9, -1, 7 }, grid[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } }, *p = numbers, **pp = &p, (*row)[3] = grid;
    short shorts[4] = { 1, 2, 3, 4 }, *s = shorts;
    char text[] = "pointer", *t = text;
    void *anything = &numbers[2];
    operation table[] = { add, sub };
    struct { int n; int *at; } box = { 2, numbers };
    printf("%d ", *p++); printf("%d ", *++p); printf("%d ", (*p)++); printf("%d\n", **pp);
    printf("%d %d %d\n", *(p - 1), p[1], (int)(p - numbers));
    printf("%d %d %d\n", (*row)[1], row[1][2], (int)(sizeof grid / sizeof *grid));
    printf("%d %d\n", *(s += 2), (int)((char *)s - (char *)shorts));
    while (*t) *t++ -= 32;
    printf("%s %d\n", text, *(int *)anything);
    printf("%d %d %d %d\n", choose(1)(2, 3), other(1)(2, 3), apply(add, 1, 2), table[1](9, 4));
    printf("%d %d\n", total(grid, 2), 2[numbers]);
    printf("%d %d %d %d\n", p > numbers, p == &numbers[2], p != 0, !p);
    *box.at++ += 10; box.at[box.n] *= 2; --*box.at;
    qsort(numbers, 5, sizeof *numbers, order);
    for (p = numbers; p < numbers + 5; p++) printf("%d ", *p);
    printf("%d\n", (int)sizeof(int (*)[10]));
    { int i = 0, a[3] = { 0, 0, 0 }; a[i++] = 4; a[i++]++; a[i--] += 3; printf("%d %d %d %d\n", a[0], a[1], a[2], i); }
    { unsigned char *bytes = malloc(300), *end = bytes + 300; memset(bytes, 200, 300); while (end > bytes) if (*--end != 200) return 1; free(bytes); }
    return *numbers & 127;
}
