/* Starts another Linux from the running one: kexec KERNEL INITRAMFS COMMAND-LINE...

   It does by itself what a boot loader does by "The Linux/x86 Boot Protocol" (32-bit entry), and has the running kernel
   copy the parts to their places and jump: kexec_load, reboot. Both kernels may be of 32 or 64 bits. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    LOW = 0x90000,           /* boot parameters, command line, code: one page each */
    CODE = LOW + 2 * PAGE,
    ARCHITECTURE_386 = 3 << 16,
    ARCHITECTURE_X86_64 = 62 << 16,
    E820_ENTRIES = 0x1e8,    /* offsets in the boot parameters */
    HEADER = 0x1f1,
    JUMP_LENGTH = 0x201,
    MAGIC = 0x202,
    VERSION = 0x206,
    LOADER = 0x210,
    RAMDISK = 0x218,
    RAMDISK_SIZE = 0x21c,
    COMMAND_LINE = 0x228,
    RAMDISK_MAXIMUM = 0x22c,
    COMMAND_LINE_SIZE = 0x238,
    PREFERRED_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    E820_TABLE = 0x2d0,
    E820_MAXIMUM = 128
};

struct segment {
    const void *from;
    unsigned long length;
    unsigned long to;
    unsigned long room;
};

static unsigned char low[3 * PAGE];

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "kexec: failed: %s: %s\n", what, why);
    exit(1);
}

static uint32_t word(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static void put(unsigned char *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static unsigned char *read_file(const char *name, unsigned long *length)
{
    FILE *file = fopen(name, "rb");
    unsigned char *text;

    if (!file)
        fail(name, "it cannot be opened");
    fseek(file, 0, SEEK_END);
    *length = ftell(file);
    rewind(file);
    text = malloc(*length + 1);
    if (!text)
        fail(name, "there is too little memory");
    if (fread(text, 1, *length, file) != *length)
        fail(name, "it cannot be read");
    fclose(file);
    return text;
}

/* The machine's memory, as the running kernel lists it: the table for the next kernel, and where RAM ends below a limit. */
static uint32_t memory(uint32_t limit)
{
    FILE *file = fopen("/proc/iomem", "r");
    char line[256], kind[128];
    unsigned long long first, last;
    uint32_t end = 0;
    int entries = 0;

    if (!file)
        fail("/proc/iomem", "it cannot be opened");
    while (fgets(line, sizeof line, file)) {
        uint32_t type;
        unsigned char *entry = low + E820_TABLE + 20 * entries;

        if (line[0] == ' ' || sscanf(line, "%llx-%llx : %127[^\n]", &first, &last, kind) != 3)
            continue;
        if (!strcmp(kind, "System RAM"))
            type = 1;
        else if (!strcmp(kind, "ACPI Tables"))
            type = 3;
        else if (!strcmp(kind, "ACPI Non-volatile Storage"))
            type = 4;
        else if (!strcasecmp(kind, "reserved"))
            type = 2;
        else
            continue;
        if (entries == E820_MAXIMUM)
            fail("/proc/iomem", "it has too many entries");
        put(entry, first);
        put(entry + 4, first >> 32);
        put(entry + 8, last + 1 - first);
        put(entry + 12, (last + 1 - first) >> 32);
        put(entry + 16, type);
        entries++;
        if (type == 1 && first < limit)
            end = last < limit ? last + 1 : limit;
    }
    fclose(file);
    low[E820_ENTRIES] = entries;
    return end;
}

/* What runs between the kernels, in a mode of 32 or 64 bits, until the next kernel is entered in 32 bits without paging. */
static void write_code(uint32_t entry)
{
    static const unsigned char code[] = {
        0xfa,                               /*  0 cli */
        0x31, 0xc0,                         /*  1 xor eax, eax */
        0x48, 0x90,                         /*  3 32 bits: dec eax; nop. 64 bits: nop */
        0x85, 0xc0,                         /*  5 test eax, eax */
        0x74, 0x0e,                         /*  7 jz 23: 64 bits */
        0x0f, 0x01, 0x15, 0, 0, 0, 0,       /*  9 lgdt [100] */
        0xea, 0, 0, 0, 0, 0x10, 0,          /* 16 jmp 0x10:72 */
        0x0f, 0x01, 0x14, 0x25, 0, 0, 0, 0, /* 23 lgdt [100] */
        0xff, 0x2c, 0x25, 0, 0, 0, 0,       /* 31 jmp far [110] */
        0x0f, 0x20, 0xc0,                   /* 38 mov eax, cr0: here the code has 32 bits, with paging */
        0x25, 0xff, 0xff, 0xff, 0x7f,       /* 41 and eax, 0x7fffffff: no paging */
        0x0f, 0x22, 0xc0,                   /* 46 mov cr0, eax */
        0xb9, 0x80, 0x00, 0x00, 0xc0,       /* 49 mov ecx, 0xc0000080: EFER */
        0x0f, 0x32,                         /* 54 rdmsr */
        0x25, 0xff, 0xfe, 0xff, 0xff,       /* 56 and eax, 0xfffffeff: no long mode */
        0x0f, 0x30,                         /* 61 wrmsr */
        0x0f, 0x20, 0xe0,                   /* 63 mov eax, cr4 */
        0x83, 0xe0, 0xdf,                   /* 66 and eax, 0xffffffdf: no PAE */
        0x0f, 0x22, 0xe0,                   /* 69 mov cr4, eax */
        0xb8, 0x18, 0, 0, 0,                /* 72 mov eax, 0x18 */
        0x8e, 0xd8,                         /* 77 mov ds, eax */
        0x8e, 0xc0,                         /* 79 mov es, eax */
        0x8e, 0xd0,                         /* 81 mov ss, eax */
        0x31, 0xed,                         /* 83 xor ebp, ebp */
        0x31, 0xff,                         /* 85 xor edi, edi */
        0x31, 0xdb,                         /* 87 xor ebx, ebx */
        0xbe, 0, 0, 0, 0,                   /* 89 mov esi, the boot parameters */
        0xe9, 0, 0, 0, 0,                   /* 94 jmp to the kernel */
        0x90,                               /* 99 */
        0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0,    /* 100 limit and address of the table of segments */
        0, 0, 0, 0, 0x10, 0                 /* 110 where the code goes on in 32 bits */
    };
    static const unsigned char segments[32] = {
        [16] = 0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0, /* 0x10: code, 4 GiB */
        0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0         /* 0x18: data, 4 GiB */
    };
    unsigned char *at = low + 2 * PAGE;

    memcpy(at, code, sizeof code);
    memcpy(at + 128, segments, sizeof segments);
    put(at + 12, CODE + 100);
    put(at + 17, CODE + 72);
    put(at + 27, CODE + 100);
    put(at + 34, CODE + 110);
    put(at + 90, LOW);
    put(at + 95, entry - (CODE + 99));
    put(at + 102, CODE + 128);
    put(at + 110, CODE + 38);
}

/* The command line's words, with blanks between them. */
static void write_command_line(char **words, uint32_t limit)
{
    char *line = (char *)low + PAGE;

    for (; *words; words++) {
        if (strlen(line) + strlen(*words) + 2 > limit)
            fail(*words, "the command line is too long");
        if (*line)
            strcat(line, " ");
        strcat(line, *words);
    }
}

int main(int argc, char **argv)
{
    unsigned long kernel_length, ramdisk_length, setup, flags;
    unsigned char *kernel, *ramdisk;
    struct segment segments[3];
    struct utsname running;
    uint32_t entry, end;

    if (argc < 3) {
        fputs("kexec: give a kernel, an initramfs and a command line\n", stderr);
        return 1;
    }
    kernel = read_file(argv[1], &kernel_length);
    ramdisk = read_file(argv[2], &ramdisk_length);
    if (kernel_length < 2 * PAGE || memcmp(kernel + MAGIC, "HdrS", 4) || (word(kernel + VERSION) & 0xffff) < 0x20a)
        fail(argv[1], "it is no bzImage of Linux 2.6.31 or newer");
    memcpy(low + HEADER, kernel + HEADER, MAGIC + kernel[JUMP_LENGTH] - HEADER);
    setup = (kernel[HEADER] + 1) * 512;
    entry = word(kernel + PREFERRED_ADDRESS);
    end = memory(word(kernel + RAMDISK_MAXIMUM)) & -PAGE;
    if (end < entry + word(kernel + INIT_SIZE) + ramdisk_length + PAGE)
        fail(argv[2], "it and the kernel do not fit into the memory");
    write_command_line(argv + 3, word(kernel + COMMAND_LINE_SIZE) < PAGE ? word(kernel + COMMAND_LINE_SIZE) : PAGE);
    write_code(entry);
    low[LOADER] = 0xff;
    put(low + COMMAND_LINE, LOW + PAGE);
    put(low + RAMDISK, (end - ramdisk_length) & -PAGE);
    put(low + RAMDISK_SIZE, ramdisk_length);

    segments[0] = (struct segment){low, sizeof low, LOW, sizeof low};
    segments[1] = (struct segment){kernel + setup, kernel_length - setup, entry, (kernel_length - setup + PAGE - 1) & -PAGE};
    segments[2] = (struct segment){ramdisk, ramdisk_length, word(low + RAMDISK), (ramdisk_length + PAGE - 1) & -PAGE};
    uname(&running);
    flags = strcmp(running.machine, "x86_64") ? ARCHITECTURE_386 : ARCHITECTURE_X86_64;
    if (syscall(SYS_kexec_load, CODE, 3, segments, flags) < 0)
        fail("kexec_load", strerror(errno));
    puts("= genesis: jump into the second kernel");
    fflush(stdout);
    sync();
    syscall(SYS_reboot, 0xfee1dead, 672274793, 0x45584543, 0);
    fail("reboot", strerror(errno));
    return 1;
}
