/* The preprocessor: macros, #include, conditions. next_token() is what the parser sees of it. */

enum { NESTING_LIMIT = 200, PARAMETER_LIMIT = 1000 };

struct macro {
    int macro_is_function;
    int macro_parameters;          /* how many */
    int macro_is_variadic;         /* the last one takes all remaining arguments */
    struct name *macro_directive;  /* for __LINE__ and __FILE__, which have no body */
    struct token *macro_body;
    struct parameter *macro_names;
    int macro_busy;                /* its expansion is being read, where its name is not expanded again */
};

struct parameter {
    struct name *parameter_name;
    struct parameter *parameter_next;
};

struct condition {
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

/* Lists of tokens: these two words are the list being built. */
struct token *list_first;
struct token *list_last;

void append(struct token *token)
{
    token->token_next = 0;
    if (list_last)
        list_last->token_next = token;
    else
        list_first = token;
    list_last = token;
}

void clear_list(void)
{
    list_first = 0;
    list_last = 0;
}

void push_context(struct token *tokens, struct macro *macro, int is_barrier)
{
    struct context *inner;

    inner = (struct context *)allocate(sizeof(struct context));
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
    struct macro *macro;
    struct argument *first, *last, *argument;
    struct token *token;
    int count, depth;

    macro = name->name_macro;
    first = 0;
    last = 0;
    count = 0;
    do {
        clear_list();
        depth = 0;
        for (;;) {
            token = next_raw();
            if (token->token_kind == TOKEN_END || token->token_kind == TOKEN_BARRIER
                || token->token_kind == TOKEN_NEWLINE)
                fail_name("')' expected behind the arguments of macro ", name, "");
            if (token->token_kind == ')' && depth == 0)
                break;
            if (token->token_kind == ',' && depth == 0
                && !(macro->macro_is_variadic && count + 1 >= macro->macro_parameters))
                break;
            if (token->token_kind == '(')
                depth++;
            if (token->token_kind == ')')
                depth--;
            append(copy_token(token));
        }
        argument = (struct argument *)allocate(sizeof(struct argument));
        argument->argument_raw = list_first;
        if (last)
            last->argument_next = argument;
        else
            first = argument;
        last = argument;
        count++;
    } while (token->token_kind == ',');
    if (macro->macro_parameters == 0 && count == 1 && !first->argument_raw)
        return 0;
    if (macro->macro_is_variadic && count == macro->macro_parameters - 1) {
        last->argument_next = (struct argument *)allocate(sizeof(struct argument));
        count++;
    }
    if (count != macro->macro_parameters)
        fail_name(count < macro->macro_parameters ? "too few arguments for macro " : "too many arguments for macro ",
                  name, "");
    return first;
}

struct token *expanded(struct argument *argument)
{
    struct token *first, *last, *token, *save_first, *save_last;

    if (argument->argument_is_expanded)
        return argument->argument_expanded;
    if (++argument_depth > NESTING_LIMIT)
        fail("macros nested too deeply");
    save_first = list_first;
    save_last = list_last;
    push_context(argument->argument_raw, 0, YES);
    first = 0;
    last = 0;
    for (;;) {
        token = next_token();
        if (token->token_kind == TOKEN_BARRIER)
            break;
        token = copy_token(token);
        if (last)
            last->token_next = token;
        else
            first = token;
        last = token;
    }
    pop_context();
    list_first = save_first;
    list_last = save_last;
    argument_depth--;
    argument->argument_is_expanded = YES;
    argument->argument_expanded = first;
    return first;
}

/* A token read from text that the preprocessor made */
struct token *lex_text(struct buffer *text)
{
    struct source *save;
    struct token *token;
    int line;

    save = input;
    line = error_line;
    push_source(save->source_path, text);
    input->source_line = save->source_line;
    token = lex();
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
    struct buffer *text;
    struct token *token;
    int i, c;

    text = new_buffer();
    put_byte(text, '"');
    for (token = tokens; token; token = token->token_next) {
        if (token->token_spaced && token != tokens)
            put_byte(text, ' ');
        for (i = 0; i < token->token_length; i++) {
            c = token->token_text[i];
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
    struct buffer *text;
    struct token *token;

    if (left->token_kind == TOKEN_PLACEMARKER)
        token = copy_token(right);
    else if (right->token_kind == TOKEN_PLACEMARKER)
        token = copy_token(left);
    else {
        text = new_buffer();
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
    int index;

    if (token->token_kind != TOKEN_NAME)
        return 0;
    index = 1;
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
    int index;

    index = parameter_index(macro, body);
    if (!index)
        return 0;
    for (; index > 1; index--)
        arguments = arguments->argument_next;
    return arguments;
}

/* Takes the last token back from the list; `before` is the one before it. */
struct token *take_back(struct token *before)
{
    struct token *token;

    token = list_last;
    list_last = before;
    if (before)
        before->token_next = 0;
    else
        list_first = 0;
    return token;
}

/* The body of a macro with arguments put in, as a new list */
struct token *substitute(struct macro *macro, struct argument *arguments)
{
    struct token *body, *piece, *first, *before_last, *copy;
    struct argument *argument;
    int paste, space;

    clear_list();
    before_last = 0;
    paste = NO;
    for (body = macro->macro_body; body; body = body->token_next) {
        if (body->token_kind == PASTE) {
            paste = YES;
            continue;
        }
        space = body->token_spaced;
        argument = argument_for(macro, arguments, body);
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
        for (first = piece; piece; piece = piece->token_next) {
            if (paste) {
                copy = take_back(before_last);
                copy = pasted(copy, piece);
                paste = NO;
            } else {
                copy = copy_token(piece);
                if (piece == first)
                    copy->token_spaced = space;
            }
            before_last = list_last;
            append(copy);
        }
    }
    return list_first;
}

/* Whether '(' comes next, which is then passed */
int pass_parenthesis(void)
{
    struct token *token;

    token = next_raw();
    if (token->token_kind == '(')
        return YES;
    if (token->token_kind != TOKEN_BARRIER)
        push_back(token);
    return NO;
}

struct token *special_macro(struct name *name)
{
    struct buffer *text;
    char *path;

    text = new_buffer();
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
    struct token *token, *last;
    struct macro *macro;
    struct argument *arguments;

    for (;;) {
        token = next_raw();
        if (token->token_kind != TOKEN_NAME)
            return token;
        macro = token->token_name->name_macro;
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
        arguments = 0;
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
    struct token *token;

    token = lex();
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
    struct token *token;
    struct parameter *parameter, *last;

    last = 0;
    token = lex();
    if (token->token_kind == ')')
        return;
    for (;;) {
        parameter = (struct parameter *)allocate(sizeof(struct parameter));
        if (token->token_kind == ELLIPSIS) {
            macro->macro_is_variadic = YES;
            parameter->parameter_name = name_of("__VA_ARGS__");
        } else if (token->token_kind == TOKEN_NAME) {
            if (parameter_index(macro, token))
                fail_name("parameter given twice: ", token->token_name, "");
            parameter->parameter_name = token->token_name;
        } else
            fail("a parameter's name expected");
        if (last)
            last->parameter_next = parameter;
        else
            macro->macro_names = parameter;
        last = parameter;
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

int same_macro(struct macro *a, struct macro *b)
{
    struct token *s, *t;
    struct parameter *p, *q;

    if (a->macro_is_function != b->macro_is_function || a->macro_parameters != b->macro_parameters
        || a->macro_is_variadic != b->macro_is_variadic || a->macro_directive)
        return NO;
    q = b->macro_names;
    for (p = a->macro_names; p; p = p->parameter_next) {
        if (p->parameter_name != q->parameter_name)
            return NO;
        q = q->parameter_next;
    }
    t = b->macro_body;
    for (s = a->macro_body; s; s = s->token_next) {
        if (!t || s->token_length != t->token_length || s->token_spaced != t->token_spaced
            || !equal_bytes(s->token_text, t->token_text, s->token_length))
            return NO;
        t = t->token_next;
    }
    return !t;
}

void define(void)
{
    struct name *name;
    struct macro *macro;
    struct token *token;

    name = directive_name("#define");
    macro = (struct macro *)allocate(sizeof(struct macro));
    token = lex();
    if (token->token_kind == '(' && !token->token_spaced) {
        macro->macro_is_function = YES;
        read_parameters(macro);
        token = lex();
    } else if (token->token_kind != TOKEN_NEWLINE && !token->token_spaced)
        fail_name("white space expected behind ", name, "");
    token->token_spaced = NO;
    clear_list();
    while (token->token_kind != TOKEN_NEWLINE) {
        if (token->token_kind == PASTE && !list_last)
            fail("'##' at the begin of a macro");
        append(token);
        token = lex();
        if (macro->macro_is_function && list_last->token_kind == '#' && !parameter_index(macro, token))
            fail("a parameter expected behind '#'");
        if (token->token_kind == TOKEN_NAME && token->token_name->name_directive == SPECIAL_VARIABLE
            && !macro->macro_is_variadic)
            fail("__VA_ARGS__ outside of a macro with '...'");
    }
    if (list_last && list_last->token_kind == PASTE)
        fail("'##' at the end of a macro");
    macro->macro_body = list_first;
    if (name->name_macro && !same_macro(name->name_macro, macro))
        fail_name("macro defined differently before: ", name, "");
    name->name_macro = macro;
}

/* Where headers are looked for */
enum { DIRECTORIES = 32 };
char *directories[DIRECTORIES];
int directory_count;

char *joined_path(char *directory, int directory_length, char *file, int length)
{
    char *path;

    path = allocate(directory_length + length + 2);
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
    struct buffer *text;

    text = read_file(path);
    if (!text)
        return NO;
    if (input->source_depth > NESTING_LIMIT)
        fail("files included too deeply");
    push_source(path, text);
    return YES;
}

void include_file(char *file, int length, int is_quoted)
{
    char *path;
    int i;

    if (length == 0)
        fail("empty file name behind #include");
    if (file[0] == '/') {
        if (try_to_include(copy_text(file, length)))
            return;
        fail_about("cannot read ", file, length, "");
    }
    if (is_quoted) {
        path = input->source_path;
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
    struct token *token;
    char *file, *end;

    file = skip_space(input->source_at);
    if (*file == '<') {
        end = file;
        while (*end != '>' && *end != '\n' && end < input->source_end)
            end++;
        if (*end != '>')
            fail("'>' expected behind a header's name");
        input->source_at = end + 1;
        end_of_directive("#include");
        in_directive = NO;
        include_file(file + 1, end - file - 1, NO);
    } else {
        token = next_token();
        if (token->token_kind != TOKEN_STRING)
            fail("\"file\" or <file> expected behind #include");
        if (next_token()->token_kind != TOKEN_NEWLINE)
            fail("the end of the line expected behind #include");
        in_directive = NO;
        include_file(token->token_text + 1, token->token_length - 2, YES);
    }
}

int evaluate_condition(void);

void push_condition(int is_true)
{
    struct condition *condition;

    condition = (struct condition *)allocate(sizeof(struct condition));
    condition->condition_taken = is_true;
    condition->condition_outer = input->source_conditions;
    input->source_conditions = condition;
}

/* Passes lines up to the #elif with a true condition, the #else or the #endif that ends the group. */
void skip_group(void)
{
    struct token *token;
    struct condition *condition;
    int depth, which;

    depth = 0;
    condition = input->source_conditions;
    for (;;) {
        input->source_at = skip_space(input->source_at);
        error_line = input->source_line;
        if (*input->source_at == 0 && input->source_at >= input->source_end)
            fail("#endif expected before the end of the file");
        if (*input->source_at != '#' || !input->source_line_start) {
            skip_line();
            continue;
        }
        lex();
        in_directive = YES;
        input->source_at = skip_space(input->source_at);
        which = 0;
        if (is_letter(*input->source_at)) {
            token = lex();
            which = token->token_name->name_directive;
        }
        if (which == DIRECTIVE_IF || which == DIRECTIVE_IFDEF || which == DIRECTIVE_IFNDEF)
            depth++;
        else if (which == DIRECTIVE_ENDIF && depth > 0)
            depth--;
        else if (depth == 0 && (which == DIRECTIVE_ENDIF || which == DIRECTIVE_ELSE || which == DIRECTIVE_ELIF)) {
            if (condition->condition_else && which != DIRECTIVE_ENDIF)
                fail("#else was before");
            if (which == DIRECTIVE_ENDIF) {
                end_of_directive("#endif");
                input->source_conditions = condition->condition_outer;
                in_directive = NO;
                return;
            }
            if (which == DIRECTIVE_ELSE) {
                end_of_directive("#else");
                condition->condition_else = YES;
            }
            if (!condition->condition_taken && (which == DIRECTIVE_ELSE || evaluate_condition())) {
                condition->condition_taken = YES;
                in_directive = NO;
                return;
            }
            if (which == DIRECTIVE_ELSE || !condition->condition_taken) {
                in_directive = NO;
                continue;
            }
        }
        in_directive = NO;
        skip_line();
    }
}

/* Carries out a directive whose '#' was read. */
void directive(void)
{
    struct token *token;
    struct condition *condition;
    struct token *save_first, *save_last;
    char *start, *end;
    int which, is_true;

    save_first = list_first;
    save_last = list_last;
    in_directive = YES;
    token = lex();
    if (token->token_kind == TOKEN_NEWLINE) {
        in_directive = NO;
        return;
    }
    which = token->token_kind == TOKEN_NAME ? token->token_name->name_directive : 0;
    condition = input->source_conditions;
    switch (which) {
    case DIRECTIVE_DEFINE:
        define();
        break;
    case DIRECTIVE_UNDEF:
        directive_name("#undef")->name_macro = 0;
        end_of_directive("#undef");
        break;
    case DIRECTIVE_INCLUDE:
        include();
        break;
    case DIRECTIVE_IF:
        is_true = evaluate_condition();
        push_condition(is_true);
        in_directive = NO;
        if (!is_true)
            skip_group();
        break;
    case DIRECTIVE_IFDEF:
    case DIRECTIVE_IFNDEF:
        is_true = (directive_name("#ifdef")->name_macro != 0) == (which == DIRECTIVE_IFDEF);
        end_of_directive("#ifdef");
        push_condition(is_true);
        in_directive = NO;
        if (!is_true)
            skip_group();
        break;
    case DIRECTIVE_ELIF:
    case DIRECTIVE_ELSE:
        if (!condition || condition->condition_else)
            fail("no #if belongs to this directive");
        if (which == DIRECTIVE_ELSE)
            condition->condition_else = YES;
        in_directive = NO;
        skip_line();
        skip_group();
        break;
    case DIRECTIVE_ENDIF:
        if (!condition)
            fail("no #if belongs to this #endif");
        end_of_directive("#endif");
        input->source_conditions = condition->condition_outer;
        break;
    case DIRECTIVE_ERROR:
        start = skip_space(input->source_at);
        end = start;
        while (*end != '\n' && end < input->source_end)
            end++;
        fail_about("#error ", start, end - start, "");
    default:
        fail_about("directive not implemented: #", token->token_text, token->token_length, "");
    }
    in_directive = NO;
    list_first = save_first;
    list_last = save_last;
}
