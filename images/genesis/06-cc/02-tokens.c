/* From characters to tokens, before any macro is expanded. */

/* Punctuation of one character is its own code; all other kinds of tokens follow. */
enum {
    TOKEN_END = 256, TOKEN_NEWLINE, TOKEN_NAME, TOKEN_NUMBER, TOKEN_CHARACTER, TOKEN_STRING, TOKEN_OTHER,
    TOKEN_PLACEMARKER, TOKEN_BARRIER,
    PASTE, ELLIPSIS, ARROW, INCREMENT, DECREMENT, SHIFT_LEFT, SHIFT_RIGHT, LESS_EQUAL, GREATER_EQUAL, EQUAL_EQUAL,
    NOT_EQUAL, AND_AND, OR_OR, ASSIGN_ADD, ASSIGN_SUBTRACT, ASSIGN_MULTIPLY, ASSIGN_DIVIDE, ASSIGN_MODULO, ASSIGN_AND,
    ASSIGN_OR, ASSIGN_XOR, ASSIGN_LEFT, ASSIGN_RIGHT,
    KEYWORD_AUTO, KEYWORD_BREAK, KEYWORD_CASE, KEYWORD_CHAR, KEYWORD_CONST, KEYWORD_CONTINUE, KEYWORD_DEFAULT,
    KEYWORD_DO, KEYWORD_DOUBLE, KEYWORD_ELSE, KEYWORD_ENUM, KEYWORD_EXTERN, KEYWORD_FLOAT, KEYWORD_FOR, KEYWORD_GOTO,
    KEYWORD_IF, KEYWORD_INLINE, KEYWORD_INT, KEYWORD_LONG, KEYWORD_REGISTER, KEYWORD_RESTRICT, KEYWORD_RETURN,
    KEYWORD_SHORT, KEYWORD_SIGNED, KEYWORD_SIZEOF, KEYWORD_STATIC, KEYWORD_STRUCT, KEYWORD_SWITCH, KEYWORD_TYPEDEF,
    KEYWORD_UNION, KEYWORD_UNSIGNED, KEYWORD_VOID, KEYWORD_VOLATILE, KEYWORD_WHILE, KEYWORD_BOOL, KEYWORD_ATTRIBUTE,
    KEYWORD_ASM
};

char *keywords[] = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
    "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "_Bool", "__attribute__",
    "asm", 0
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
    int hash, length;

    hash = 0;
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
        name_of(keywords[i])->name_keyword = KEYWORD_AUTO + i;
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
    char *from, *to, *end;
    int owed;

    from = buffer->buffer_bytes;
    to = from;
    end = from + buffer->buffer_used;
    owed = 0;
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
    struct token *token;

    token = new_token(from->token_kind, from->token_text, from->token_length);
    token->token_name = from->token_name;
    token->token_spaced = from->token_spaced;
    token->token_blue = from->token_blue;
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
    int quote;

    quote = *at++;
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
    int c, next, is_assignment;

    c = *at;
    next = at[1];
    is_assignment = next == '=';
    punctuator_length = 2;
    switch (c) {
    case '#': if (next == '#') return PASTE; break;
    case '<':
        if (next == '<') {
            punctuator_length = at[2] == '=' ? 3 : 2;
            return at[2] == '=' ? ASSIGN_LEFT : SHIFT_LEFT;
        }
        if (is_assignment) return LESS_EQUAL;
        break;
    case '>':
        if (next == '>') {
            punctuator_length = at[2] == '=' ? 3 : 2;
            return at[2] == '=' ? ASSIGN_RIGHT : SHIFT_RIGHT;
        }
        if (is_assignment) return GREATER_EQUAL;
        break;
    case '-':
        if (next == '>') return ARROW;
        if (next == '-') return DECREMENT;
        if (is_assignment) return ASSIGN_SUBTRACT;
        break;
    case '+':
        if (next == '+') return INCREMENT;
        if (is_assignment) return ASSIGN_ADD;
        break;
    case '&':
        if (next == '&') return AND_AND;
        if (is_assignment) return ASSIGN_AND;
        break;
    case '|':
        if (next == '|') return OR_OR;
        if (is_assignment) return ASSIGN_OR;
        break;
    case '=': if (is_assignment) return EQUAL_EQUAL; break;
    case '!': if (is_assignment) return NOT_EQUAL; break;
    case '*': if (is_assignment) return ASSIGN_MULTIPLY; break;
    case '/': if (is_assignment) return ASSIGN_DIVIDE; break;
    case '%': if (is_assignment) return ASSIGN_MODULO; break;
    case '^': if (is_assignment) return ASSIGN_XOR; break;
    case '.':
        if (next == '.' && at[2] == '.') {
            punctuator_length = 3;
            return ELLIPSIS;
        }
        break;
    case '(': case ')': case '[': case ']': case '{': case '}': case ',': case ';': case ':': case '?': case '~':
        break;
    default:
        punctuator_length = 1;
        return TOKEN_OTHER;
    }
    punctuator_length = 1;
    return c;
}

/* The next position with something other than white space and comments, or the end of the line of a directive.
   `spaced` and the line are kept up to date. */
int spaced;

char *skip_space(char *at)
{
    int c;

    spaced = NO;
    for (;;) {
        c = *at;
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
    struct token *token;
    char *at, *start;
    int c, hash;

    start = skip_space(input->source_at);
    error_file = input->source_path;
    error_line = input->source_line;
    token = new_token(TOKEN_END, start, 0);
    token->token_spaced = spaced;
    token->token_first = input->source_line_start;
    input->source_line_start = NO;
    at = start;
    c = *at;
    if (is_letter(c)) {
        if (c == 'L' && (at[1] == '"' || at[1] == '\''))
            fail("wide characters are not implemented");
        hash = 0;
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
    char *at, *end;

    at = input->source_at;
    while (*at != '\n' && at < input->source_end)
        if (*at == '/' && (at[1] == '*' || at[1] == '/'))
            at = skip_comment(at);
        else if (*at == '"' || *at == '\'') {
            end = end_of_quoted(at);
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
