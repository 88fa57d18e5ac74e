/* The executable: places for all sections, references filled in, an ELF file of two segments. */

enum { TEXT_BASE = 0x08048000, HEADERS = 116, PAGE = 4096 };

int constants_base;
int data_base;
int bss_base;

/* Machine code of functions that C cannot express, for those of them that are used and not defined: hexadecimal digits */
char *builtin_names[] = {"syscall", "setjmp", "longjmp", 0};
char *builtin_code[] = {
    "8b442404"      /* mov eax, [esp+4]: the number */
    "8b5c2408"      /* mov ebx, [esp+8] */
    "8b4c240c"      /* mov ecx, [esp+12] */
    "8b542410"      /* mov edx, [esp+16] */
    "cd80"          /* int 0x80 */
    "c3",           /* ret */

    "8b4c2404"      /* mov ecx, [esp+4]: the jmp_buf */
    "8b1424"        /* mov edx, [esp]: where the call returns to */
    "8929"          /* mov [ecx], ebp */
    "8d442404"      /* lea eax, [esp+4]: the stack after that */
    "894104"        /* mov [ecx+4], eax */
    "895108"        /* mov [ecx+8], edx */
    "31c0"          /* xor eax, eax */
    "c3",           /* ret */

    "8b4c2404"      /* mov ecx, [esp+4]: the jmp_buf */
    "8b442408"      /* mov eax, [esp+8]: the value */
    "85c0"          /* test eax, eax */
    "7501"          /* jnz over the next */
    "40"            /* inc eax */
    "8b29"          /* mov ebp, [ecx] */
    "8b6104"        /* mov esp, [ecx+4] */
    "ff6108"        /* jmp [ecx+8] */
};

/* The entry: main (argc, argv, environment) is called, or __start with the same arguments where a library has it. */
char *entry_code =
    "8b0424"        /* mov eax, [esp]: argc */
    "8d4c2404"      /* lea ecx, [esp+4]: argv */
    "8d548104"      /* lea edx, [ecx+eax*4+4]: the environment */
    "52"            /* push edx */
    "51"            /* push ecx */
    "50"            /* push eax */
    "e8";           /* call */
char *entry_end =
    "89c3"          /* mov ebx, eax */
    "b801000000"    /* mov eax, 1: exit */
    "cd80";         /* int 0x80 */

int entry_place;

void put_code(char *digits)
{
    while (*digits) {
        put_byte(text_section, digit_value(digits[0]) << 4 | digit_value(digits[1]));
        digits = digits + 2;
    }
}

void add_entry(void)
{
    struct symbol *start = name_of("__start")->name_linked;
    if (!start || start->symbol_section != SECTION_TEXT)
        start = name_of("main")->name_linked;
    if (!start || start->symbol_section != SECTION_TEXT)
        fail("no function main");
    start->symbol_used = YES;
    entry_place = text_section->buffer_used;
    put_code(entry_code);
    put_word(text_section, 0);
    put_reference(text_section, text_section->buffer_used - 4, start, -4, REFERENCE_RELATIVE);
    put_code(entry_end);
}

void add_builtins(void)
{
    int i;

    for (i = 0; builtin_names[i]; i++) {
        struct symbol *symbol = name_of(builtin_names[i])->name_linked;
        if (symbol && symbol->symbol_used && symbol->symbol_section == SECTION_UNDEFINED) {
            symbol->symbol_section = SECTION_TEXT;
            symbol->symbol_value = text_section->buffer_used;
            put_code(builtin_code[i]);
        }
    }
}

/* Gives room to objects that were declared and never initialised. */
void place_tentative(void)
{
    struct symbol *symbol;

    for (symbol = globals; symbol; symbol = symbol->symbol_next)
        if (symbol->symbol_section == SECTION_TENTATIVE) {
            if (!is_complete(symbol->symbol_type))
                fail_name("type not complete: ", symbol->symbol_name, "");
            symbol->symbol_section = SECTION_BSS;
            symbol->symbol_value = bss_size;
            bss_size = round_up(bss_size + size_of(symbol->symbol_type), 4);
            if (bss_size < 0 || bss_size > 1000000000)
                fail("too many static objects");
        } else if (symbol->symbol_section == SECTION_UNDEFINED && symbol->symbol_used)
            fail_name("used and not defined: ", symbol->symbol_name, "");
}

int address_of_symbol(struct symbol *symbol)
{
    switch (symbol->symbol_section) {
    case SECTION_TEXT: return TEXT_BASE + HEADERS + symbol->symbol_value;
    case SECTION_CONSTANTS: return constants_base + symbol->symbol_value;
    case SECTION_DATA: return data_base + symbol->symbol_value;
    }
    return bss_base + symbol->symbol_value;
}

void fill_references(void)
{
    struct reference *reference;

    for (reference = references; reference; reference = reference->reference_next) {
        struct buffer *section = reference->reference_section;
        int place = reference->reference_place;
        int value = get_word(section, place) + address_of_symbol(reference->reference_symbol);
        if (reference->reference_kind == REFERENCE_RELATIVE)
            value -= TEXT_BASE + HEADERS + place;
        set_word(section, place, value);
    }
}

/* A program header: what is loaded from where to where */
void put_segment(struct buffer *file, int offset, int address, int file_size, int memory_size, int flags)
{
    put_word(file, 1);                              /* PT_LOAD */
    put_word(file, offset);
    put_word(file, address);
    put_word(file, address);
    put_word(file, file_size);
    put_word(file, memory_size);
    put_word(file, flags);
    put_word(file, PAGE);
}

void append_section(struct buffer *file, struct buffer *section, int at)
{
    extend(file, at + section->buffer_used);
    copy_bytes(file->buffer_bytes + at, section->buffer_bytes, section->buffer_used);
}

void write_executable(char *path)
{
    add_builtins();
    place_tentative();
    add_entry();
    constants_base = TEXT_BASE + HEADERS + round_up(text_section->buffer_used, 4);
    int text_end = constants_base + constants_section->buffer_used - TEXT_BASE;
    int data_place = round_up(text_end, 4);
    data_base = TEXT_BASE + PAGE + data_place;
    bss_base = data_base + round_up(data_section->buffer_used, 4);
    fill_references();
    struct buffer *file = new_buffer();
    put_text(file, "\x7f" "ELF\x01\x01\x01");
    extend(file, 16);
    put_word(file, 2 | 3 << 16);                    /* an executable for i386 */
    put_word(file, 1);
    put_word(file, TEXT_BASE + HEADERS + entry_place);
    put_word(file, 52);                             /* where the program headers are */
    put_word(file, 0);
    put_word(file, 0);
    put_word(file, 52 | 32 << 16);                  /* sizes of this header and of a program header */
    put_word(file, 2);                              /* two of them */
    put_word(file, 0);
    extend(file, 52);
    put_segment(file, 0, TEXT_BASE, text_end, text_end, 5);
    put_segment(file, data_place, data_base, data_section->buffer_used, bss_base + bss_size - data_base, 6);
    append_section(file, text_section, HEADERS);
    append_section(file, constants_section, constants_base - TEXT_BASE);
    append_section(file, data_section, data_place);
    int descriptor = syscall(SYS_OPEN, (int)path, 0x241, 0x1ff);      /* to write, made anew, mode 0777 */
    if (descriptor < 0)
        fail_about("cannot write ", path, length_of(path), "");
    if (!write_all(descriptor, file->buffer_bytes, file->buffer_used))
        fail_about("cannot write all of ", path, length_of(path), "");
    syscall(SYS_CLOSE, descriptor, 0, 0);
}
