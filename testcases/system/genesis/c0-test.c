// A test of c0: each check has a number; the first that is wrong is printed, and the exit status is 1.
// With gcc: cc -m32 -std=gnu89 -fno-strict-aliasing -fno-builtin test.c and a function syscall.

struct late;
struct node { int value; char small; struct node *next; char *text; struct late *unknown; };
struct late { int present; };
enum { ZERO, ONE, FIVE = 5, SIX, NEGATIVE = -3, SUM = (FIVE + 2 * 3) << 1 | 1, CHOICE = FIVE > 4 ? 7 : 8, };
enum { QUOTIENT = -7 / 2, REST = -7 % 3, LOGIC = (ONE && !ZERO) + (ZERO || ZERO) * 2, WIDTH = sizeof(struct node) };

int global = 42;
int untouched;
int table[4] = { 1, -2, 0x10 };
int counted[] = { 'a', '\n', 010, SIX, };
char letters[] = "ab\x43\104" "e";
char fixed[8] = "xyz";
char bytes[3] = { 1, -1, 200 };
char *name = "na" "me";
char *names[] = { "zero", "one", "two", 0 };
char signed_char = -1;
int *pointers[3];
int current;
char area[1000];
int area_used;

int string_size(char *s)
{
    int n = 0;
    while (s[n])
        ++n;
    return n;
}

int print(char *s) { return syscall(4, 1, (int)s, string_size(s)); }

void print_number(int n)
{
    char digit = '0' + n % 10;
    if (n > 9) print_number(n / 10);
    syscall(4, 1, (int)&digit, 1);
}

void check(int number, int got, int expected)
{
    if (got == expected) return;
    print("check ");
    print_number(number);
    print(" fails\n");
    syscall(1, 1, 0, 0);
}

int equal(char *a, char *b)
{
    for (; *a && *a == *b; a++, b++) ;
    return *a == *b;
}

char *allocate(int size)
{
    char *p = area + area_used;
    area_used += size;
    return p;
}

int is_odd(int n);
int is_even(int n) { return n == 0 ? 1 : is_odd(n - 1); }
int is_odd(int n) { return n == 0 ? 0 : is_even(n - 1); }
char narrow(int n) { return n; }
int eight(int a, int b, int c, int d, int e, int f, int g, char h) { return a - b + c * d - e / f + g * h; }
int *address_of(int i) { return &table[i]; }
void set(int *p, int v) { *p = v; }
int side(int v) { current = current * 10 + v; return v; }

int choose(int n)
{
    int result = 0;
    switch (n) {
    case 1: result += 1;
    case ONE + 1: result += 10; break;
    case NEGATIVE: { int x = 100; result = x; break; }
    case 'a': return 'A';
    default: result = 7;
    case FIVE: result++;
        switch (result) { case 8: result = 80; break; case 1: result = 11; }
    }
    return result;
}

int only_default(int n) { switch (n) { default: n++; } switch (n) { } return n; }

int loops(int n)
{
    int i, sum = 0, j;
    for (i = 0, j = 10; i < n; i++, j--) {
        if (i == 2) continue;
        if (j == 4) break;
        sum += i * j;
    }
    do {
        sum++;
        if (sum % 7 == 0) continue;
        if (sum > 1000) break;
    } while (sum % 5);
    while (i) {
        i--;
        for (;;) { if (j++ > 20) break; else continue; }
        switch (i) { case 1: continue; case 0: sum += 1000; }
        if (i == 3) { int i = 50; sum += i; }
    }
    return sum;
}

void expressions(int a, int b)
{
    check(1, 1 + 2 * 3 - 4 / 2 % 3, 5);
    check(2, -7 / 2, -3);
    check(3, -7 % 3, -1);
    check(4, a << 3 >> 1, 28);
    check(5, -a >> 1, -4);
    check(6, a & 5 | 8 ^ 3, 15);
    check(7, ~a, -8);
    check(8, !a + !0, 1);
    check(9, (a < b) + (a > b) * 2 + (a <= 7) * 4 + (a >= 8) * 8 + (a == 7) * 16 + (a != 7) * 32, 21);
    check(10, a && b, 1);
    check(11, a && 0 || !b, 0);
    current = 0;
    check(12, side(0) && side(1) || side(2) || side(3), 1);
    check(13, current, 2);
    check(14, a > 5 ? b ? 1 : 2 : 3, 1);
    a += 3; check(15, a, 10);
    a -= 1; a *= 4; a /= 5; check(16, a, 7);
    a %= 4; a <<= 5; a |= 3; a ^= 1; a &= 0xfe; a >>= 1; check(17, a, 49);
    check(18, a++ * 100 + 1, 4901);
    check(19, --a, 49);
    check(20, a = b = 9, 9);
    check(21, a - b, 0);
    check(22, 0xffffffff, -1);
    check(23, 2147483647 + 1 < 0, 1);
    check(24, 'a' + '\'' + '\\' + '\0' + '\x10' + '\377', 97 + 39 + 92 + 16 - 1);
    check(25, "\a\b\f\v\t\r\""[3], 11);
    check(26, -a * -b + - -a, 90);
}

void pointer_tests(void)
{
    int *p = table, *q = &table[3], **pp = &p;
    char *s = letters;
    check(40, *p++ + *p, -1);
    check(41, q - p, 2);
    check(42, (p < q) + (p > q) * 2 + (p <= q) * 4 + (p == q) * 8 + (p != q) * 16, 21);
    **pp = 50; check(43, table[1], 50);
    *pp += 1; check(44, *p, 16);
    p[1] = 9; check(45, table[3], 9);
    check(46, *(2 + table), 16);
    check(47, *--p, 50);
    check(48, (int)(p + 1) - (int)p, 4);
    check(49, *(s + 2), 'C');
    check(50, *s++, 'a');
    check(51, *++s, 'C');
    check(52, s - letters, 2);
    check(53, ((char *)table)[4], 50);
    check(54, *address_of(3), 9);
    set(&current, 77); check(55, current, 77);
    set(address_of(0), 5); check(56, table[0]++, 5);
    check(57, table[0], 6);
    check(58, --*p, 49);
    pointers[1] = q; check(59, *pointers[1], 9);
    check(60, pointers[0] == 0, 1);
    check(61, !pointers[0] && pointers[1], 1);
    check(62, *(current ? table : q), 6);
    q -= 2; check(63, *q, 49);
    check(64, (char)300, 44);
    check(65, (void *)p == (void *)q, 1);
}

void characters(void)
{
    char c = 127;
    check(80, c++, 127);
    check(81, c, -128);
    check(82, --c, 127);
    check(83, c = 200, -56);
    check(84, c += 100, 44);
    check(85, bytes[1] + bytes[2], -57);
    check(86, signed_char, -1);
    check(87, narrow(511), -1);
    bytes[0] = 255; check(88, bytes[0]++, -1);
    check(89, ++bytes[0], 1);
    check(90, bytes[0] <<= 7, -128);
    check(91, string_size(letters), 5);
    check(92, equal(letters, "abCDe") && !equal("a", "b"), 1);
    check(93, string_size(fixed) + fixed[7], 3);
    check(94, equal(name, "name"), 1);
    check(95, equal(names[2], "two") && names[3] == 0, 1);
}

void structs(void)
{
    struct node *first = 0, *n;
    int i;
    for (i = 0; i < 3; i++) {
        n = (struct node *)allocate(sizeof(struct node));
        n->value = i * i;
        n->small = 'a' + i;
        n->text = names[i];
        n->next = first;
        first = n;
    }
    check(100, first->value, 4);
    check(101, first->next->small, 'b');
    check(102, equal(first->next->next->text, "zero"), 1);
    check(103, (&first->next[0])->value, 1);
    first->next->value += 5; check(104, first->next->value++, 6);
    check(105, ++first->next->value, 8);
    first->small = 300; check(106, first->small, 44);
    check(107, first->unknown == 0, 1);
    n = first + 1; check(108, (int)n - (int)first, sizeof(struct node));
    check(109, n - first, 1);
    check(110, WIDTH, 4 * 5);
    check(111, sizeof(int) + sizeof(char) + sizeof(char *), 9);
    first->unknown = (struct late *)allocate(sizeof(struct late));
    first->unknown->present = 1; check(112, first->unknown->present, 1);
}

int main(int argc, char **argv)
{
    expressions(7, 8);
    pointer_tests();
    characters();
    structs();
    check(120, SUM + CHOICE, 23 + 7);
    check(121, QUOTIENT * 100 + REST * 10 + LOGIC, -309);
    check(122, global + untouched, 42);
    check(123, counted[0] + counted[1] + counted[2] + counted[3], 97 + 10 + 8 + 6);
    check(124, is_even(10) * 10 + is_odd(10), 10);
    check(125, eight(1, 2, 3, 4, 9, 2, 5, 6), 37);
    check(126, choose(1) + choose(2) * 10, 111);
    check(127, choose(-3) + choose('a') + choose(5) + choose(33), 100 + 65 + 11 + 80);
    check(128, only_default(3), 4);
    check(129, loops(8), 1130);
    { int global = 1; { int global = 2; check(130, global, 2); } check(131, global, 1); }
    check(132, argv[argc] == 0, 1);
    check(133, argv[0][0] != 0, 1);
    print("c0 works\n");
    return 0;
}
