/* The preprocessor: macros, #include, conditions. next_token() is what the parser sees of it. */

enum { NESTING_LIMIT = 200, PARAMETER_LIMIT = 1000 };

struct macro {
    int macro_is_function;
    int macro_parameters;          /* how many */
    int macro_is_variadic;         /* the last one takes all remaining arguments */
    struct name *macro_directive;  /* for __LINE__ and __FILE__, which have no body */
    struct token *macro_body;
    struct parameter *macro_names;
    char *macro_text;              /* the definition as it was written, behind the name */
    int macro_length;
    int macro_busy;                /* its expansion is being read, where its name is not expanded again */
};

struct parameter {
    struct name *parameter_name;
    struct parameter *parameter_next;
};

/* An #if whose #endif is to come */
struct condition {
    int condition_active;          /* its lines are compiled */
    int condition_taken;           /* a group was or is compiled */
    int condition_else;            /* #else was seen */
    struct condition *condition_outer;
};

/* Tokens to read before the source goes on: expansions of macros, the innermost first */
struct context {
    struct token *context_next;
    struct macro *context_macro;
    int context_barrier;           /* reading stops here: the end of an argument that is expanded by itself */
    struct context *context_outer;
};

struct context *context;
struct token *barrier;
int argument_depth;

void push_context(struct token *tokens, struct macro *macro, int is_barrier)
{
    struct context *inner = (struct context *)allocate(sizeof(struct context));
    inner->context_next = tokens;
    inner->context_macro = macro;
    inner->context_barrier = is_barrier;
    inner->context_outer = context;
    context = inner;
    if (macro)
        macro->macro_busy++;
}

void pop_context(void)
{
    if (context->context_macro)
        context->context_macro->macro_busy--;
    context = context->context_outer;
}

void directive(void);

/* Passes lines that are not compiled, up to one that begins with '#'. */
void skip_lines(void)
{
    for (;;) {
        input->source_at = skip_space(input->source_at);
        error_line = input->source_line;
        if (input->source_at >= input->source_end)
            fail("#endif expected before the end of the file");
        if (*input->source_at == '#' && input->source_line_start)
            return;
        skip_line();
    }
}

/* The next token before expansion */
struct token *next_raw(void)
{
    struct token *token;

    while (context) {
        token = context->context_next;
        if (token) {
            context->context_next = token->token_next;
            if (token->token_kind != TOKEN_PLACEMARKER)
                return token;
        } else if (context->context_barrier)
            return barrier;
        else
            pop_context();
    }
    for (;;) {
        if (input->source_conditions && !input->source_conditions->condition_active && !in_directive)
            skip_lines();
        token = lex();
        if (token->token_kind == '#' && token->token_first && !in_directive)
            directive();
        else if (token->token_kind == TOKEN_END && input->source_outer) {
            if (input->source_conditions)
                fail("#endif expected before the end of the file");
            input = input->source_outer;
        } else
            return token;
    }
}

void push_back(struct token *token)
{
    push_context(copy_token(token), 0, NO);
}

/* Macros expanded */

struct argument {
    struct token *argument_raw;
    struct token *argument_expanded;
    int argument_is_expanded;
    struct argument *argument_next;
};

struct token *next_token(void);

/* Reads the arguments of a macro behind its '('. */
struct argument *read_arguments(struct name *name)
{
    struct token *token;
    struct macro *macro = name->name_macro;
    struct argument *first = 0, **end = &first;
    int count = 0;
    do {
        struct argument *argument = (struct argument *)allocate(sizeof(struct argument));
        *end = argument;
        end = &argument->argument_next;
        count++;
        struct token **raw_end = &argument->argument_raw;
        int depth = 0, last = macro->macro_is_variadic && count >= macro->macro_parameters;
        for (;;) {
            token = next_raw();
            if (token->token_kind == TOKEN_END || token->token_kind == TOKEN_BARRIER
                || token->token_kind == TOKEN_NEWLINE)
                fail_name("')' expected behind the arguments of macro ", name, "");
            if (depth == 0 && (token->token_kind == ')' || (token->token_kind == ',' && !last)))
                break;
            depth += (token->token_kind == '(') - (token->token_kind == ')');
            *raw_end = copy_token(token);
            raw_end = &(*raw_end)->token_next;
        }
    } while (token->token_kind == ',');
    if (macro->macro_parameters == 0 && count == 1 && !first->argument_raw)
        return 0;
    if (macro->macro_is_variadic && count == macro->macro_parameters - 1) {
        *end = (struct argument *)allocate(sizeof(struct argument));
        count++;
    }
    if (count != macro->macro_parameters)
        fail_name(count < macro->macro_parameters ? "too few arguments for macro " : "too many arguments for macro ",
                  name, "");
    return first;
}

struct token *expanded(struct argument *argument)
{
    struct token *token;

    if (argument->argument_is_expanded)
        return argument->argument_expanded;
    if (++argument_depth > NESTING_LIMIT)
        fail("macros nested too deeply");
    push_context(argument->argument_raw, 0, YES);
    struct token **end = &argument->argument_expanded;
    for (token = next_token(); token->token_kind != TOKEN_BARRIER; token = next_token()) {
        *end = copy_token(token);
        end = &(*end)->token_next;
    }
    pop_context();
    argument_depth--;
    argument->argument_is_expanded = YES;
    return argument->argument_expanded;
}

/* A token read from text that the preprocessor made */
struct token *lex_text(struct buffer *text)
{
    struct source *save = input;
    int line = error_line;
    push_source(save->source_path, text);
    input->source_line = save->source_line;
    struct token *token = lex();
    if (input->source_at != input->source_end)
        token->token_kind = TOKEN_OTHER;
    input = save;
    error_line = line;
    return token;
}

void put_spelling(struct buffer *buffer, struct token *token)
{
    int i;

    for (i = 0; i < token->token_length; i++)
        put_byte(buffer, token->token_text[i]);
}

/* #parameter: the spelling of an argument as a string */
struct token *stringised(struct token *tokens)
{
    struct token *token;
    int i;
    struct buffer *text = new_buffer();
    put_byte(text, '"');
    for (token = tokens; token; token = token->token_next) {
        if (token->token_spaced && token != tokens)
            put_byte(text, ' ');
        for (i = 0; i < token->token_length; i++) {
            int c = token->token_text[i];
            if ((c == '"' || c == '\\')
                && (token->token_kind == TOKEN_STRING || token->token_kind == TOKEN_CHARACTER))
                put_byte(text, '\\');
            put_byte(text, c);
        }
    }
    put_byte(text, '"');
    token = lex_text(text);
    if (token->token_kind != TOKEN_STRING)
        fail("'#' does not give a string");
    return token;
}

/* left ## right */
struct token *pasted(struct token *left, struct token *right)
{
    struct token *token;

    if (left->token_kind == TOKEN_PLACEMARKER)
        token = copy_token(right);
    else if (right->token_kind == TOKEN_PLACEMARKER)
        token = copy_token(left);
    else {
        struct buffer *text = new_buffer();
        put_spelling(text, left);
        put_spelling(text, right);
        token = lex_text(text);
        if (token->token_kind == TOKEN_OTHER || token->token_kind == TOKEN_END)
            fail_about("'##' does not give one token: ", text->buffer_bytes, text->buffer_used, "");
    }
    token->token_spaced = left->token_spaced;
    return token;
}

/* The position of a name among a macro's parameters, from 1 on, or 0 */
int parameter_index(struct macro *macro, struct token *token)
{
    struct parameter *parameter;

    if (token->token_kind != TOKEN_NAME)
        return 0;
    int index = 1;
    for (parameter = macro->macro_names; parameter; parameter = parameter->parameter_next) {
        if (parameter->parameter_name == token->token_name)
            return index;
        index++;
    }
    return 0;
}

/* The argument for the parameter that a token of the body names, or 0 */
struct argument *argument_for(struct macro *macro, struct argument *arguments, struct token *body)
{
    int index = parameter_index(macro, body);
    if (!index)
        return 0;
    for (; index > 1; index--)
        arguments = arguments->argument_next;
    return arguments;
}

/* The body of a macro with arguments put in, as a new list */
struct token *substitute(struct macro *macro, struct argument *arguments)
{
    struct token *body, *piece, *begin;
    struct token *first = 0, **end = &first, *last = 0;
    int paste = NO;
    for (body = macro->macro_body; body; body = body->token_next) {
        if (body->token_kind == PASTE) {
            paste = YES;
            continue;
        }
        int space = body->token_spaced;
        struct argument *argument = argument_for(macro, arguments, body);
        if (macro->macro_is_function && body->token_kind == '#') {
            body = body->token_next;
            piece = stringised(argument_for(macro, arguments, body)->argument_raw);
        } else if (!argument)
            piece = copy_token(body);
        else if (paste || (body->token_next && body->token_next->token_kind == PASTE)) {
            piece = argument->argument_raw;
            if (!piece)
                piece = new_token(TOKEN_PLACEMARKER, "", 0);
        } else
            piece = expanded(argument);
        for (begin = piece; piece; piece = piece->token_next)
            if (paste) {
                copy_bytes((char *)last, (char *)pasted(last, piece), sizeof(struct token));
                paste = NO;
            } else {
                last = copy_token(piece);
                if (piece == begin)
                    last->token_spaced = space;
                *end = last;
                end = &last->token_next;
            }
    }
    return first;
}

/* Whether '(' comes next, which is then passed */
int pass_parenthesis(void)
{
    struct token *token = next_raw();
    if (token->token_kind == '(')
        return YES;
    if (token->token_kind != TOKEN_BARRIER)
        push_back(token);
    return NO;
}

struct token *special_macro(struct name *name)
{
    char *path;
    struct buffer *text = new_buffer();
    if (name->name_directive == SPECIAL_LINE)
        put_decimal(text, input->source_line);
    else {
        put_byte(text, '"');
        for (path = input->source_path; *path; path++) {
            if (*path == '"' || *path == '\\')
                put_byte(text, '\\');
            put_byte(text, *path);
        }
        put_byte(text, '"');
    }
    return lex_text(text);
}

/* The next token with macros expanded */
struct token *next_token(void)
{
    struct token *last;

    for (;;) {
        struct token *token = next_raw();
        if (token->token_kind != TOKEN_NAME)
            return token;
        struct macro *macro = token->token_name->name_macro;
        if (!macro || token->token_blue)
            return token;
        if (macro->macro_directive) {
            last = special_macro(token->token_name);
            last->token_spaced = token->token_spaced;
            return last;
        }
        if (macro->macro_busy) {
            token = copy_token(token);
            token->token_blue = YES;
            return token;
        }
        struct argument *arguments = 0;
        if (macro->macro_is_function) {
            if (!pass_parenthesis())
                return token;
            arguments = read_arguments(token->token_name);
        }
        last = substitute(macro, arguments);
        if (last)
            last->token_spaced = token->token_spaced;
        push_context(last, macro, NO);
    }
}

/* Directives */

struct name *directive_name(char *what)
{
    struct token *token = lex();
    if (token->token_kind != TOKEN_NAME)
        fail_about("a name expected behind ", what, length_of(what), "");
    if (token->token_name->name_directive == SPECIAL_DEFINED)
        fail("'defined' cannot be the name of a macro");
    return token->token_name;
}

void end_of_directive(char *what)
{
    if (lex()->token_kind != TOKEN_NEWLINE)
        fail_about("the end of the line expected behind ", what, length_of(what), "");
}

/* The parameters of a function-like macro, behind '(' */
void read_parameters(struct macro *macro)
{
    struct parameter **end = &macro->macro_names;
    struct token *token = lex();
    if (token->token_kind == ')')
        return;
    for (;;) {
        struct parameter *parameter = (struct parameter *)allocate(sizeof(struct parameter));
        if (token->token_kind == ELLIPSIS) {
            macro->macro_is_variadic = YES;
            parameter->parameter_name = name_of("__VA_ARGS__");
        } else if (token->token_kind == TOKEN_NAME) {
            if (parameter_index(macro, token))
                fail_name("parameter given twice: ", token->token_name, "");
            parameter->parameter_name = token->token_name;
        } else
            fail("a parameter's name expected");
        *end = parameter;
        end = &parameter->parameter_next;
        if (++macro->macro_parameters > PARAMETER_LIMIT)
            fail("too many parameters");
        token = lex();
        if (token->token_kind == ')')
            return;
        if (token->token_kind != ',' || macro->macro_is_variadic)
            fail("',' or ')' expected behind a parameter");
        token = lex();
    }
}

void define(void)
{
    struct name *name = directive_name("#define");
    struct macro *macro = (struct macro *)allocate(sizeof(struct macro)), *before = name->name_macro;
    struct token *token = lex(), **end = &macro->macro_body, *last = 0;
    macro->macro_text = token->token_text;
    if (token->token_kind == '(' && !token->token_spaced) {
        macro->macro_is_function = YES;
        read_parameters(macro);
        token = lex();
    } else if (token->token_kind != TOKEN_NEWLINE && !token->token_spaced)
        fail_name("white space expected behind ", name, "");
    token->token_spaced = NO;
    while (token->token_kind != TOKEN_NEWLINE) {
        if (token->token_kind == PASTE && !last)
            fail("'##' at the begin of a macro");
        last = token;
        *end = token;
        end = &token->token_next;
        token = lex();
        if (macro->macro_is_function && last->token_kind == '#' && !parameter_index(macro, token))
            fail("a parameter expected behind '#'");
        if (token->token_kind == TOKEN_NAME && token->token_name->name_directive == SPECIAL_VARIABLE
            && !macro->macro_is_variadic)
            fail("__VA_ARGS__ outside of a macro with '...'");
    }
    if (last && last->token_kind == PASTE)
        fail("'##' at the end of a macro");
    macro->macro_length = token->token_text - macro->macro_text;
    if (before && (before->macro_length != macro->macro_length
                   || !equal_bytes(before->macro_text, macro->macro_text, macro->macro_length)))
        fail_name("macro defined differently before: ", name, "");
    name->name_macro = macro;
}

/* Where headers are looked for */
enum { DIRECTORIES = 32 };
char *directories[DIRECTORIES];
int directory_count;

char *joined_path(char *directory, int directory_length, char *file, int length)
{
    char *path = allocate(directory_length + length + 2);
    copy_bytes(path, directory, directory_length);
    if (directory_length) {
        path[directory_length] = '/';
        directory_length++;
    }
    copy_bytes(path + directory_length, file, length);
    return path;
}

int try_to_include(char *path)
{
    struct buffer *text = read_file(path);
    if (!text)
        return NO;
    if (input->source_depth > NESTING_LIMIT)
        fail("files included too deeply");
    push_source(path, text);
    return YES;
}

void include_file(char *file, int length, int is_quoted)
{
    int i;

    if (length == 0)
        fail("empty file name behind #include");
    if (file[0] == '/') {
        if (try_to_include(copy_text(file, length)))
            return;
        fail_about("cannot read ", file, length, "");
    }
    if (is_quoted) {
        char *path = input->source_path;
        i = length_of(path);
        while (i > 0 && path[i - 1] != '/')
            i--;
        if (try_to_include(joined_path(path, i ? i - 1 : 0, file, length)))
            return;
    }
    for (i = 0; i < directory_count; i++)
        if (try_to_include(joined_path(directories[i], length_of(directories[i]), file, length)))
            return;
    fail_about("header not found: ", file, length, "");
}

void include(void)
{
    char *file = skip_space(input->source_at);
    if (*file == '<') {
        char *end = file;
        while (*end != '>' && *end != '\n' && end < input->source_end)
            end++;
        if (*end != '>')
            fail("'>' expected behind a header's name");
        input->source_at = end + 1;
        end_of_directive("#include");
        in_directive = NO;
        include_file(file + 1, end - file - 1, NO);
    } else {
        struct token *token = next_token();
        if (token->token_kind != TOKEN_STRING)
            fail("\"file\" or <file> expected behind #include");
        if (next_token()->token_kind != TOKEN_NEWLINE)
            fail("the end of the line expected behind #include");
        in_directive = NO;
        include_file(token->token_text + 1, token->token_length - 2, YES);
    }
}

int evaluate_condition(void);

/* #if, #ifdef and #ifndef. Where lines are not compiled anyway, no group of it will be. */
void begin_condition(int which, int skipping)
{
    struct condition *condition = (struct condition *)allocate(sizeof(struct condition));
    if (!skipping && which == DIRECTIVE_IF)
        condition->condition_active = evaluate_condition();
    else if (!skipping) {
        condition->condition_active = (directive_name("#ifdef")->name_macro != 0) == (which == DIRECTIVE_IFDEF);
        end_of_directive("#ifdef");
    }
    condition->condition_taken = skipping || condition->condition_active;
    condition->condition_outer = input->source_conditions;
    input->source_conditions = condition;
}

/* #elif, #else and #endif. Whether the rest of the line is still to be passed. */
int change_condition(int which, struct condition *condition)
{
    if (!condition)
        fail("no #if belongs to this directive");
    if (condition->condition_else && which != DIRECTIVE_ENDIF)
        fail("#else was before");
    if (which != DIRECTIVE_ELIF)
        end_of_directive("#else or #endif");
    if (which == DIRECTIVE_ENDIF) {
        input->source_conditions = condition->condition_outer;
        return NO;
    }
    condition->condition_else = which == DIRECTIVE_ELSE;
    condition->condition_active = !condition->condition_taken && (which == DIRECTIVE_ELSE || evaluate_condition());
    if (which == DIRECTIVE_ELIF && condition->condition_taken)
        return YES;
    condition->condition_taken = condition->condition_active;
    return NO;
}

/* Carries out a directive whose '#' was read. */
void directive(void)
{
    struct condition *condition = input->source_conditions;
    int skipping = condition && !condition->condition_active, which = 0, skip_rest = skipping;
    in_directive = YES;
    input->source_at = skip_space(input->source_at);
    char *start = input->source_at, *end = start;
    if (is_letter(*start))
        which = lex()->token_name->name_directive;
    if (which == DIRECTIVE_IF || which == DIRECTIVE_IFDEF || which == DIRECTIVE_IFNDEF)
        begin_condition(which, skipping);
    else if (which == DIRECTIVE_ELIF || which == DIRECTIVE_ELSE || which == DIRECTIVE_ENDIF)
        skip_rest = change_condition(which, condition);
    else if (!skipping) {
        while (*end != '\n' && end < input->source_end)
            end++;
        if (which == DIRECTIVE_DEFINE)
            define();
        else if (which == DIRECTIVE_UNDEF) {
            directive_name("#undef")->name_macro = 0;
            end_of_directive("#undef");
        } else if (which == DIRECTIVE_INCLUDE)
            include();
        else if (which == DIRECTIVE_ERROR)
            fail_about("#", start, end - start, "");
        else if (start != end)
            fail_about("directive not implemented: #", start, end - start, "");
        else
            end_of_directive("#");
    }
    in_directive = NO;
    if (skip_rest)
        skip_line();
}
