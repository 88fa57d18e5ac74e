/* Bit-fields: layout, signs, assignments, initialisers */
#include <stdio.h>
#include <string.h>
struct a { unsigned x : 3; int y : 5; unsigned z : 10; int w : 14; } static_a = { 7, -3, 1000, -8000 };
struct b { char c; unsigned f : 4; unsigned char d; unsigned g : 20, h : 20; };
struct c { unsigned short s : 9; unsigned : 0; unsigned t : 1; unsigned : 3; unsigned u : 2; unsigned char v : 8; };
union u { struct { unsigned low : 16, high : 16; }; unsigned all; };
enum color { RED, GREEN, BLUE = 7 };
enum sign { MINUS = -1, PLUS = 1 };
struct e { enum color color : 3; enum sign sign : 2; };
struct d { _Bool flag : 1; unsigned whole : 32; signed char n : 3; };
static void dump(const void *at, int n) { const unsigned char *p = at; while (n--) printf("%02x", *p++); printf("\n"); }
int main(void)
{
    struct a a = { 1, 2, 3, 4 }, *p = &a;
    struct b b;
    struct c c = { 300, 1, 2, 255 };
    struct d d = { 2, 0xdeadbeef, -4 };
    union u u;
    printf("%d %d %d %d\n", (int)sizeof(struct a), (int)sizeof(struct b), (int)sizeof(struct c), (int)sizeof(struct d));
    dump(&static_a, sizeof static_a); dump(&a, sizeof a); dump(&c, sizeof c); dump(&d, sizeof d);
    printf("%d %d %d %d\n", static_a.x, static_a.y, static_a.z, static_a.w);
    printf("%d ", a.x = 9);
    printf("%d\n", a.y = 31);
    p->x++; p->y--; p->z += 1023; p->w = -p->w; ++p->x;
    printf("%d %d %d %d ", a.x, a.y, a.z, a.w); printf("%d\n", p->x++);
    memset(&b, 0, sizeof b);
    b.f = 15; b.g = 0xfffff; b.h = 0x12345; b.d = 7; b.c = 1;
    dump(&b, sizeof b);
    u.all = 0x12345678; u.high ^= 0xffff;
    printf("%x %x %x\n", u.low, u.high, u.all);
    printf("%d %d\n", a.x - 8 < 0, d.flag);
    printf("%d %d\n", d.n, (d.whole >> 31) + 1);
    { struct e e = { BLUE, MINUS }; enum color c = RED; printf("%d %d %d\n", e.color, e.sign, c - 1 > 0); }
    return a.x;
}
