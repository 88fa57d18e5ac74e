/* The preprocessor: what the standard's examples show, and what tcc does with it */
#include <stdio.h>
#define OBJECT 42
#define FUNCTION(x) ((x) * 2)
#define STRING(x) #x
#define EXPANDED(x) STRING(x)
#define PASTE(a, b) a##b
#define PASTED(a, b) PASTE(a, b)
#define EMPTY
#define SELF SELF + 1
#define VARIADIC(f, ...) printf(f, __VA_ARGS__)
#define f(a) f(x * (a))
#define x 3
#define g f
#define z z[0]
#define OPEN FUNCTION(1 +
#define t(a) a
#define LIST(X) X(one) X(two) X(three)
#define AS_ENUM(name) E_##name,
#define AS_STRING(name) STRING(name),
#define TWO_LINES first \
    second
enum { LIST(AS_ENUM) E_COUNT };
static const char *names[] = { LIST(AS_STRING) };
#if OBJECT == 42 && defined(OBJECT) && !defined NOTHING && (2 + 3 * 4 == 14) && -1 < 0 && 0x7fffffff + 1 > 0
static int selected = 1;
#elif 1
static int selected = 2;
#else
#error never here, even with an apostrophe's end
#endif
#if 0
don't look "here
# if 1
#  else
# endif
#elif UNKNOWN
#else
# ifdef OBJECT
#  ifndef EMPTY
static int nested = 1;
#  else
static int nested = 2;
#  endif
# endif
#endif
#undef OBJECT
#define OBJECT 43
#define OBJECT 43
int main(void)
{
    int SELF_ = 5;
    printf("%d %d %s %s\n", OBJECT, FUNCTION(1 + 2), STRING(a  +   "b\n" 'c'), EXPANDED(FUNCTION(OBJECT)));
    printf("%d %s %s\n", PASTE(1, 2) + PASTED(OBJECT, 0), EXPANDED(PASTE(x, y)), EXPANDED(PASTE(, EMPTY)));
    printf("%s | %s\n", EXPANDED(SELF), EXPANDED(f(y+1) + f(f(z)) % t(t(g)(0) + t)(1)));
    printf("%s | %d\n", EXPANDED(g(x+(3,4)-1)), OPEN 5));
    printf("%s %s\n", EXPANDED(TWO_LINES), EXPANDED(t(  spaced   out  )));
    VARIADIC("%d %d %s\n", selected, nested, names[E_two]);
    printf("%d %d\n", E_COUNT, __LINE__);
    printf("%d\n", FUNCTION
        (
            4   /* a comment, with , and ) */
        ));
    printf("%s\n", EXPANDED(<:@) );
    return x;
}
