/* cc [-I directory] [-D name[=value]] -o output file.c ... */

enum { FILES = 256 };
char *files[FILES];
int file_count;
char *output;

/* #define lines for the options -D and what is always defined */
struct buffer *predefined;

void predefine(char *definition)
{
    put_text(predefined, "#define ");
    while (*definition && *definition != '=')
        put_byte(predefined, *definition++);
    put_byte(predefined, ' ');
    put_text(predefined, *definition ? definition + 1 : "1");
    put_byte(predefined, '\n');
}

void add_option(int letter, char *value)
{
    if (letter == 'o')
        output = value;
    else if (letter == 'D')
        predefine(value);
    else {
        if (directory_count == DIRECTORIES)
            fail("too many -I");
        directories[directory_count++] = value;
    }
}

void read_arguments_of_main(int count, char **arguments)
{
    int i;

    for (i = 1; i < count; i++) {
        char *argument = arguments[i];
        if (argument[0] == '-' && (argument[1] == 'o' || argument[1] == 'I' || argument[1] == 'D')) {
            if (argument[2])
                add_option(argument[1], argument + 2);
            else if (i + 1 < count)
                add_option(argument[1], arguments[++i]);
            else
                fail_about("an argument expected behind ", argument, 2, "");
        } else if (argument[0] == '-')
            fail_about("option not known: ", argument, length_of(argument), "");
        else {
            if (file_count == FILES)
                fail("too many files");
            files[file_count++] = argument;
        }
    }
    if (!output || !file_count)
        fail("usage: cc [-I directory] [-D name[=value]] -o output file.c ...");
}

/* Macros of one file are not those of the next. */
void forget_macros(void)
{
    struct name *name;
    int i;

    for (i = 0; i < NAME_BUCKETS; i++)
        for (name = name_buckets[i]; name; name = name->name_next)
            name->name_macro = 0;
}

void define_special(char *text)
{
    struct name *name = name_of(text);
    name->name_macro = (struct macro *)allocate(sizeof(struct macro));
    name->name_macro->macro_directive = name;
}

void compile(char *path)
{
    struct buffer *text = read_file(path);
    if (!text)
        fail_about("cannot read ", path, length_of(path), "");
    forget_macros();
    define_special("__LINE__");
    define_special("__FILE__");
    input = 0;
    push_source(path, text);
    struct buffer *definitions = new_buffer();
    append_section(definitions, predefined, 0);
    push_source("command line", definitions);
    enter_scope();
    struct type *type = new_type(TYPE_FUNCTION, NO);
    type->type_base = type_int;
    type->type_unprototyped = YES;
    storage = KEYWORD_EXTERN;
    declare_linked(name_of("syscall"), type);
    advance();
    while (kind != TOKEN_END)
        if (!accept(';'))
            parse_declaration();
    if (input->source_conditions)
        fail("#endif expected before the end of the file");
    leave_scope();
    error_file = 0;
}

int main(int argc, char **argv)
{
    int i;

    text_section = new_buffer();
    constants_section = new_buffer();
    data_section = new_buffer();
    predefined = new_buffer();
    in_ecx = new_node(NODE_CONSTANT, 0, 0, 0);
    barrier = new_token(TOKEN_BARRIER, "", 0);
    predefine("__STDC__");
    predefine("__i386__");
    predefine("__linux__");
    predefine("__unix__");
    predefine("__CC__");
    read_arguments_of_main(argc, argv);
    define_keywords();
    make_types();
    for (i = 0; i < file_count; i++)
        compile(files[i]);
    write_executable(output);
    return 0;
}
