/* Structs: assignment, arguments, results, unions, members without a name, alignment */
#include <stdio.h>
struct small { char c; short s; };
struct large { int i; long long l; double d; long double x; char t[13]; struct small in[2]; };
typedef struct list { struct list *next; int value; } list;
struct outer { int a; union { int b; struct { char c, d; }; }; struct small s; };
static struct small make(char c, short s) { struct small r; r.c = c; r.s = s; return r; }
static struct large change(struct large l, int n) { l.i += n; l.t[2] = 'X'; l.in[1] = make('q', n); return l; }
static int sum(struct small a, struct small b, int n) { return a.c + a.s + b.c + b.s + n; }
static int length(list *l) { return l ? 1 + length(l->next) : 0; }
int main(int argc, char **argv)
{
    struct large l = { 1, 1LL << 33, 0.5, 0.25L, "hello", { { 1, 2 }, { 3, 4 } } }, m, *p = &m, a[3];
    list three = { 0, 3 }, two = { &three, 2 }, one = { &two, 1 };
    struct outer o = { 1, { 0x4142 }, { 5, 6 } };
    m = l;
    p->i = 7;
    a[argc] = change(*p, 10);
    a[0] = a[1];
    printf("%d %d %d\n", (int)sizeof(struct small), (int)sizeof(struct large), (int)sizeof(struct outer));
    printf("%d %lld %g %Lg %s %d\n", a[0].i, a[0].l, a[0].d, a[0].x, a[0].t, a[0].in[1].s);
    printf("%d %s %d\n", m.i, m.t, change(l, 5).in[1].c);
    printf("%d %d\n", sum(make(1, 2), make(3, 4), 5), make('z', 9).s);
    printf("%d %d %d\n", length(&one), one.next->next->value, (argc ? one : two).value);
    printf("%c %c %d\n", o.c, o.d, (o.s = make(8, 9), o.s.s));
    printf("%d %d\n", (int)&((struct large *)0)->t, (int)&((struct outer *)0)->d);
    return (p == &m) + ((char *)&a[2] - (char *)a == 2 * sizeof *a);
}
