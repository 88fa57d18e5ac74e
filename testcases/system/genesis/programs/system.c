/* The library: memory, files, time, setjmp, text into numbers */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static jmp_buf buffer;
static void deep(int n) { if (n) deep(n - 1); longjmp(buffer, 7); }
int main(int argc, char **argv)
{
    volatile int tries = 0;
    char *blocks[50], *end, line[100];
    int i, j;
    FILE *file;
    if (setjmp(buffer) < 7) { tries++; deep(10); }
    printf("%d\n", tries);
    for (i = 0; i < 50; i++) { blocks[i] = malloc(i * 37 + 1); memset(blocks[i], i, i * 37 + 1); }
    for (i = 0; i < 50; i += 2) free(blocks[i]);
    for (i = 1; i < 50; i += 2) { blocks[i] = realloc(blocks[i], 5000); for (j = 0; j < i * 37 + 1; j++) if (blocks[i][j] != i) return 1; }
    printf("%ld %lu %lld %llu\n", strtol(" -42x", &end, 10), strtoul("0xfFz", 0, 16), strtoll("-9223372036854775808", 0, 10), strtoull("18446744073709551615", 0, 0));
    printf("%s %ld ", end, strtol("99999999999", 0, 10));
    printf("%d\n", errno == ERANGE);
    printf("%ld %ld %ld\n", strtol("077", 0, 0), strtol("zz", 0, 36), strtol("none", &end, 10));
    sprintf(line, "%s.tmp", argv[0]);
    file = fopen(line, "w+");
    for (i = 0; i < 3000; i++) fprintf(file, "line %d\n", i);
    fseek(file, 10, SEEK_SET);
    fwrite("XY", 1, 2, file);
    fseek(file, 0, SEEK_SET);
    printf("%s", fgets(line, sizeof line, file));
    printf("%s", fgets(line, sizeof line, file));
    printf("%ld ", ftell(file));
    fseek(file, -5, SEEK_END);
    i = fread(line, 1, 50, file); line[i] = 0;
    printf("%d %s%d %ld\n", i, line, fread(line, 1, 1, file), ftell(file));
    fclose(file);
    sprintf(line, "%s.tmp", argv[0]);
    i = remove(line);
    j = remove(line);
    printf("%d %d %d\n", i, j, errno == ENOENT);
    printf("%s %s %s %d\n", strchr("abcabc", 'b'), strrchr("abcabc", 'b'), strstr("haystack", "st"), strncmp("abcd", "abce", 3));
    memmove(line + 1, strcpy(line, "12345"), 5); line[6] = 0; printf("%s %d\n", line, memcmp("a\200", "a\1", 2) > 0);
    printf("%d\n", time(0) > 951782400);
    { int a, b, c = 0; printf("%d ", sscanf("0.9.x", "%d.%d.%d", &a, &b, &c)); printf("%d %d %d\n", a, b, c); }
    printf("%d\n", getenv("PATH") != 0);
    exit(argc + 4);
}
