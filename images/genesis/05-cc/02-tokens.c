/* From characters to tokens, before any macro is expanded. */

/* Punctuation of one character is its own code; all other kinds of tokens follow. */
enum {
    TOKEN_END = 256, TOKEN_NEWLINE, TOKEN_NAME, TOKEN_NUMBER, TOKEN_CHARACTER, TOKEN_STRING, TOKEN_OTHER,
    TOKEN_PLACEMARKER, TOKEN_BARRIER,
    PASTE, ELLIPSIS, ASSIGN_LEFT, ASSIGN_RIGHT, ASSIGN_ADD, ASSIGN_SUBTRACT, ASSIGN_MULTIPLY, ASSIGN_DIVIDE,
    ASSIGN_MODULO, ASSIGN_AND, ASSIGN_OR, ASSIGN_XOR, ARROW, INCREMENT, DECREMENT, SHIFT_LEFT, SHIFT_RIGHT, LESS_EQUAL,
    GREATER_EQUAL, EQUAL_EQUAL, NOT_EQUAL, AND_AND, OR_OR,
    KEYWORD_ASM, KEYWORD_BREAK, KEYWORD_CASE, KEYWORD_CONTINUE, KEYWORD_DEFAULT, KEYWORD_DO, KEYWORD_ELSE, KEYWORD_FOR,
    KEYWORD_GOTO, KEYWORD_IF, KEYWORD_RETURN, KEYWORD_SIZEOF, KEYWORD_SWITCH, KEYWORD_WHILE,
    /* With those from here on a declaration can begin. */
    KEYWORD_AUTO, KEYWORD_CHAR, KEYWORD_CONST, KEYWORD_DOUBLE, KEYWORD_ENUM, KEYWORD_EXTERN, KEYWORD_FLOAT, KEYWORD_INLINE,
    KEYWORD_INT, KEYWORD_LONG, KEYWORD_REGISTER, KEYWORD_RESTRICT, KEYWORD_SHORT, KEYWORD_SIGNED, KEYWORD_STATIC,
    KEYWORD_STRUCT, KEYWORD_TYPEDEF, KEYWORD_UNION, KEYWORD_UNSIGNED, KEYWORD_VOID, KEYWORD_VOLATILE, KEYWORD_BOOL,
    KEYWORD_ATTRIBUTE
};

/* In that order; no one begins with one before it. */
char *punctuators[] = {
    "##", "...", "<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "->", "++", "--", "<<", ">>", "<=", ">=",
    "==", "!=", "&&", "||", 0
};
char single_punctuators[] = "#<>-+&|=!*/%^.()[]{},;:?~";

char *keywords[] = {
    "asm", "break", "case", "continue", "default", "do", "else", "for", "goto", "if", "return", "sizeof", "switch", "while",
    "auto", "char", "const", "double", "enum", "extern", "float", "inline", "int", "long", "register", "restrict", "short",
    "signed", "static", "struct", "typedef", "union", "unsigned", "void", "volatile", "_Bool", "__attribute__", 0
};

/* What the preprocessor looks for after '#'; also its other special names. */
enum {
    DIRECTIVE_DEFINE = 1, DIRECTIVE_UNDEF, DIRECTIVE_INCLUDE, DIRECTIVE_IF, DIRECTIVE_IFDEF, DIRECTIVE_IFNDEF,
    DIRECTIVE_ELIF, DIRECTIVE_ELSE, DIRECTIVE_ENDIF, DIRECTIVE_ERROR, SPECIAL_DEFINED, SPECIAL_LINE, SPECIAL_FILE,
    SPECIAL_VARIABLE
};

char *directives[] = {
    "define", "undef", "include", "if", "ifdef", "ifndef", "elif", "else", "endif", "error", "defined", "__LINE__",
    "__FILE__", "__VA_ARGS__", 0
};

/* Names: each spelling exists once, and knows what it means at this point of the program. */

struct name {
    char *name_text;
    int name_length;
    struct name *name_next;
    int name_keyword;
    int name_directive;
    struct macro *name_macro;
    struct symbol *name_symbol;  /* what the name means in the current scope */
    int name_symbol_depth;       /* of the scope that gave it that meaning */
    struct type *name_tag;       /* the struct, union or enum of that tag in the current scope */
    int name_tag_depth;
    struct symbol *name_linked;  /* what has external linkage under that name, in all files */
};

enum { NAME_BUCKETS = 16384 };

struct name *name_buckets[NAME_BUCKETS];

struct name *find_name(char *text, int length, int hash)
{
    struct name *name;

    hash = hash & (NAME_BUCKETS - 1);
    for (name = name_buckets[hash]; name; name = name->name_next)
        if (name->name_length == length && equal_bytes(name->name_text, text, length))
            return name;
    name = (struct name *)allocate(sizeof(struct name));
    name->name_text = copy_text(text, length);
    name->name_length = length;
    name->name_next = name_buckets[hash];
    name_buckets[hash] = name;
    return name;
}

struct name *name_of(char *text)
{
    int length;
    int hash = 0;
    for (length = 0; text[length]; length++)
        hash = hash * 33 + text[length];
    return find_name(text, length, hash);
}

void fail_name(char *before, struct name *name, char *after)
{
    fail_about(before, name->name_text, name->name_length, after);
}

void define_keywords(void)
{
    int i;

    for (i = 0; keywords[i]; i++)
        name_of(keywords[i])->name_keyword = KEYWORD_ASM + i;
    for (i = 0; directives[i]; i++)
        name_of(directives[i])->name_directive = DIRECTIVE_DEFINE + i;
}

/* Sources: files being read, the innermost first */

struct source {
    char *source_path;
    char *source_at;
    char *source_end;
    int source_line;
    int source_line_start;  /* only white space was seen on this line */
    int source_depth;
    struct source *source_outer;
    struct condition *source_conditions;
};

struct source *input;

/* A directive is being read: the end of the line is a token. */
int in_directive;

/* Removes each backslash with the line end that follows it; the line end comes back behind the line, so that lines keep
   their numbers. */
void splice_lines(struct buffer *buffer)
{
    char *from = buffer->buffer_bytes;
    char *to = from;
    char *end = from + buffer->buffer_used;
    int owed = 0;
    while (from < end)
        if (*from == '\\' && from[1] == '\n') {
            from = from + 2;
            owed++;
        } else if (*from == '\n') {
            *to++ = *from++;
            while (owed > 0) {
                *to++ = '\n';
                owed--;
            }
        } else
            *to++ = *from++;
    while (owed > 0) {
        *to++ = '\n';
        owed--;
    }
    buffer->buffer_used = to - buffer->buffer_bytes;
    *to = 0;
}

void push_source(char *path, struct buffer *text)
{
    struct source *source;

    source = (struct source *)allocate(sizeof(struct source));
    source->source_path = path;
    put_byte(text, 0);
    put_byte(text, 0);
    text->buffer_used -= 2;
    splice_lines(text);
    source->source_at = text->buffer_bytes;
    source->source_end = source->source_at + text->buffer_used;
    source->source_line = 1;
    source->source_line_start = YES;
    source->source_outer = input;
    if (input)
        source->source_depth = input->source_depth + 1;
    input = source;
}

struct token {
    int token_kind;
    char *token_text;
    int token_length;
    struct name *token_name;
    int token_spaced;      /* white space comes before it */
    int token_first;       /* it is the first of its line */
    int token_blue;        /* a macro's name that came from its own expansion: never to be expanded */
    struct token *token_next;
};

struct token *new_token(int kind, char *text, int length)
{
    struct token *token;

    token = (struct token *)allocate(sizeof(struct token));
    token->token_kind = kind;
    token->token_text = text;
    token->token_length = length;
    return token;
}

struct token *copy_token(struct token *from)
{
    struct token *token = new_token(0, "", 0);
    copy_bytes((char *)token, (char *)from, sizeof(struct token));
    token->token_first = NO;
    token->token_next = 0;
    return token;
}

/* Skips a comment that begins at `at`. */
char *skip_comment(char *at)
{
    if (at[1] == '/') {
        while (*at != '\n' && at < input->source_end)
            at++;
        return at;
    }
    at = at + 2;
    while (*at != '*' || at[1] != '/') {
        if (*at == '\n')
            input->source_line++;
        if (at >= input->source_end)
            fail("comment not ended");
        at++;
    }
    return at + 2;
}

/* The end of a string or character constant that begins at `at`, or 0 if the line ends before it */
char *end_of_quoted(char *at)
{
    int quote = *at++;
    while (*at != quote) {
        if (*at == '\\')
            at++;
        if (*at == '\n' || at >= input->source_end)
            return 0;
        at++;
    }
    return at + 1;
}

/* The kind of a punctuator at `at`; it is left in punctuator_length how long it is. */
int punctuator_length;

int punctuator(char *at)
{
    int i;

    for (i = 0; punctuators[i]; i++) {
        punctuator_length = length_of(punctuators[i]);
        if (equal_bytes(at, punctuators[i], punctuator_length))
            return PASTE + i;
    }
    punctuator_length = 1;
    for (i = 0; single_punctuators[i]; i++)
        if (single_punctuators[i] == *at)
            return *at;
    return TOKEN_OTHER;
}

/* The next position with something other than white space and comments, or the end of the line of a directive.
   `spaced` and the line are kept up to date. */
int spaced;

char *skip_space(char *at)
{
    spaced = NO;
    for (;;) {
        int c = *at;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v')
            at++;
        else if (c == '\n' && !in_directive) {
            at++;
            input->source_line++;
            input->source_line_start = YES;
        } else if (c == '/' && (at[1] == '*' || at[1] == '/'))
            at = skip_comment(at);
        else
            return at;
        spaced = YES;
    }
}

/* The next token of the innermost source */
struct token *lex(void)
{
    char *start = skip_space(input->source_at);
    error_file = input->source_path;
    error_line = input->source_line;
    struct token *token = new_token(TOKEN_END, start, 0);
    token->token_spaced = spaced;
    token->token_first = input->source_line_start;
    input->source_line_start = NO;
    char *at = start;
    int c = *at;
    if (is_letter(c)) {
        if (c == 'L' && (at[1] == '"' || at[1] == '\''))
            fail("wide characters are not implemented");
        int hash = 0;
        do {
            hash = hash * 33 + *at++;
        } while (is_letter(*at) || is_digit(*at));
        token->token_kind = TOKEN_NAME;
        token->token_name = find_name(start, at - start, hash);
    } else if (is_digit(c) || (c == '.' && is_digit(at[1]))) {
        do {
            c = *at++;
        } while (is_letter(*at) || is_digit(*at) || *at == '.'
                 || ((*at == '+' || *at == '-') && (c == 'e' || c == 'E' || c == 'p' || c == 'P')));
        token->token_kind = TOKEN_NUMBER;
    } else if (c == '"' || c == '\'') {
        token->token_kind = c == '"' ? TOKEN_STRING : TOKEN_CHARACTER;
        at = end_of_quoted(at);
        if (!at)
            fail(c == '"' ? "string not ended on its line" : "character constant not ended on its line");
    } else if (c == '\n') {
        at++;
        input->source_line++;
        input->source_line_start = YES;
        token->token_kind = TOKEN_NEWLINE;
    } else if (c == 0) {
        if (at < input->source_end)
            fail("a byte of zero in the source");
        if (in_directive)
            token->token_kind = TOKEN_NEWLINE;
    } else {
        token->token_kind = punctuator(at);
        at = at + punctuator_length;
    }
    token->token_length = at - start;
    input->source_at = at;
    return token;
}

/* Passes the rest of a line that is not compiled, with the line end. */
void skip_line(void)
{
    char *at = input->source_at;
    while (*at != '\n' && at < input->source_end)
        if (*at == '/' && (at[1] == '*' || at[1] == '/'))
            at = skip_comment(at);
        else if (*at == '"' || *at == '\'') {
            char *end = end_of_quoted(at);
            at = end ? end : at + 1;
        } else
            at++;
    if (at < input->source_end) {
        at++;
        input->source_line++;
    }
    input->source_at = at;
    input->source_line_start = YES;
}
