/* Declarations: nested declarators, scopes of names and tags, typedefs that variables hide, linkage */
#include <stdio.h>
typedef int number, *pointer, row[3], function(int);
typedef struct node node;
struct node { node *next; number value; enum kind { LEAF = 3, INNER } kind; };
static int later(void);
int defined_twice_as_tentative;
int defined_twice_as_tentative;
extern int declared[];
int declared[4] = { 1, 2 };
function twice, *chosen = twice;
static row rows[2] = { { 1, 2, 3 }, { 4, 5, 6 } };
static row *address_of_row(int i) { return &rows[i]; }
static int (*returns_array_pointer(int i))[3] { return &rows[i]; }
static int (*(*table[2])(int))[3] = { returns_array_pointer, address_of_row };
static int (*returns_function(int (*f)(int)))(int) { return f; }
static const char *const names[] = { "zero", "one" };
static unsigned long long const volatile big = 1ULL << 35;
long unsigned int odd_order = 5; short int unsigned odder = 6; char unsigned oddest = 250;
int twice(int n) { return 2 * n; }
static int counted(void) { static int count; static struct { int a[2]; } inner = { { 7, 8 } }; return ++count + inner.a[1]++; }
static int hide(int number) { { int pointer = number * 2; number += pointer; } { enum { LEAF = 50 }; struct node { char c; } n; number += LEAF + sizeof n; } return number + LEAF + sizeof(struct node); }
static void take(int array[5], row *r, int f(int), void (*unused)(void)) { printf("%d %d %d %d\n", (int)sizeof array, array[1], (*r)[2], f(4)); }
static int later(void) { extern int declared[]; int defined_here(void); return declared[1] + defined_here(); }
int defined_here(void) { return 40; }
static inline int with_register(register int a, register const char *b) { auto int c = *b; return a + c; }
struct { int unnamed; } only;
union number { float f; unsigned bits; } one = { 1.0f };
int main(int argc, char **argv)
{
    number n = 5, *p = &n, **pp = &p;
    pointer q = p;
    row r = { 9, 8, 7 };
    node leaf = { 0, 1, LEAF }, inner = { &leaf, 2, INNER };
    struct { struct { int deep; } a, *b; } nested = { { 3 }, &nested.a };
    int (*f)(int) = returns_function(twice), i, sum = 0;
    typedef char number;
    number small = 300 - 45;
    number *text = "abc";
    printf("%d %d %d %d %d\n", **pp, *q, r[1], small == -1, text[1]);
    printf("%d %d %d\n", (*table[0](1))[2], (*table[1](0))[1], (*address_of_row(1))[0]);
    printf("%d %d %d %d\n", f(3), chosen(4), (*chosen)(5), (**chosen)(6));
    printf("%d %d %d\n", inner.next->value, inner.kind, (&inner)->next->kind);
    printf("%d %d %d\n", nested.b->deep, (*nested.b).deep, (int)sizeof nested);
    for (i = 0; i < 3; i++) sum += counted();
    printf("%d %d %d\n", sum, hide(10), later());
    take(rows[0], rows, twice, 0);
    printf("%s %llu %lu %d %d\n", names[1], big, odd_order, odder, oddest);
    printf("%x %d %d\n", one.bits, only.unnamed, with_register(1, "A"));
    printf("%d %d %d\n", (int)sizeof(int (*[3])(void)), (int)sizeof(row), (int)sizeof(char[2][3][4]));
    for (int i = 0, j = 10; i < j; i += 4) { int sum = i * j; printf("%d ", sum); }
    printf("%d\n", sum);
    return (int)sizeof(struct node) + defined_twice_as_tentative;
}
