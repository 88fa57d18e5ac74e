/* stdio, memory and sorting: numbers are written to a file, read back and sorted. */
#include "check.h"
#include <errno.h>

enum { COUNT = 5000 };

static int by_value(const void *a, const void *b)
{
    return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

int main(void)
{
    int *numbers = calloc(COUNT, sizeof *numbers);
    unsigned seed = 1;
    FILE *file = fopen("numbers", "w+");
    int i;

    CHECK(file && numbers);
    for (i = 0; i < COUNT; i++) {
        seed = seed * 1103515245 + 12345;
        CHECK(fprintf(file, "%d\n", (int)(seed >> 8) - 8000000) > 0);
    }
    CHECK(fseek(file, 0, SEEK_SET) == 0);
    for (i = 0; i < COUNT; i++)
        CHECK(fscanf(file, "%d", numbers + i) == 1);
    CHECK(fscanf(file, "%d", &i) == EOF && feof(file));
    CHECK(fclose(file) == 0 && remove("numbers") == 0);
    qsort(numbers, COUNT, sizeof *numbers, by_value);
    for (i = 1; i < COUNT; i++)
        CHECK(numbers[i - 1] <= numbers[i]);
    CHECK(numbers[0] < 0 && numbers[COUNT - 1] > 0);
    CHECK(fopen("no/such/file", "r") == 0 && errno == ENOENT);
    CHECK(strcmp(strerror(ENOENT), "No such file or directory") == 0);
    free(numbers);
    puts("files: right");
    return 0;
}
