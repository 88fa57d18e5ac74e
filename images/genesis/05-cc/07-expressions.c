/* Reads expressions into trees. */

/* The token being looked at, and its kind, which tells keywords apart */
struct token *token;
int kind;
struct token *ahead;

/* A condition of the preprocessor is being read: names are zero, all numbers have 64 bits. */
int in_condition;

int nesting;
enum { NESTING_OF_CODE = 500 };

void nest(void)
{
    if (++nesting > NESTING_OF_CODE)
        fail("nested too deeply");
}

/* `defined name` or `defined (name)` in a condition */
struct token *defined_token(void)
{
    struct token *name = next_raw();
    int parenthesis = name->token_kind == '(';
    if (parenthesis)
        name = next_raw();
    if (name->token_kind != TOKEN_NAME)
        fail("a name expected behind 'defined'");
    if (parenthesis && next_raw()->token_kind != ')')
        fail("')' expected behind the name");
    return new_token(TOKEN_NUMBER, name->token_name->name_macro ? "1" : "0", 1);
}

void advance(void)
{
    if (ahead) {
        token = ahead;
        ahead = 0;
    } else
        token = next_token();
    kind = token->token_kind;
    if (kind != TOKEN_NAME)
        return;
    if (in_condition) {
        token = token->token_name->name_directive == SPECIAL_DEFINED ? defined_token() : new_token(TOKEN_NUMBER, "0", 1);
        kind = TOKEN_NUMBER;
    } else if (token->token_name->name_keyword)
        kind = token->token_name->name_keyword;
}

/* The kind of the token behind the current one */
int peek(void)
{
    if (!ahead)
        ahead = next_token();
    if (ahead->token_kind == TOKEN_NAME && ahead->token_name->name_keyword)
        return ahead->token_name->name_keyword;
    return ahead->token_kind;
}

/* Fails because something else than the current token was expected. */
void expected(char *what)
{
    struct buffer *before = new_buffer();
    put_text(before, what);
    put_text(before, " expected before ");
    if (kind == TOKEN_END)
        put_text(before, "the end of the file");
    else if (kind == TOKEN_NEWLINE)
        put_text(before, "the end of the line");
    else
        put_byte(before, '\'');
    put_byte(before, 0);
    if (kind == TOKEN_END || kind == TOKEN_NEWLINE)
        fail(before->buffer_bytes);
    fail_about(before->buffer_bytes, token->token_text, token->token_length, "'");
}

int accept(int wanted)
{
    if (kind != wanted)
        return NO;
    advance();
    return YES;
}

void expect(int wanted, char *what)
{
    if (kind != wanted)
        expected(what);
    advance();
}

int starts_type(int first, struct token *first_token);

/* Whether a type begins behind the current token */
int type_follows(void)
{
    int next = peek();
    return starts_type(next, ahead);
}

struct node *parse_expression(void);
struct node *parse_assignment(void);
struct node *parse_cast(void);
struct node *parse_unary(void);
struct type *parse_type_name(void);

/* Constants */

/* The value of the character constant's or string's character at `at`; where the next one begins is left in after_character. */
char *after_character;

int character_at(char *at)
{
    int digits;
    int c = *at++;
    after_character = at;
    if (c != '\\')
        return c & 255;
    c = *at++;
    after_character = at;
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'a': return 7;
    case 'b': return 8;
    case 'f': return 12;
    case 'v': return 11;
    case 'e': return 27;
    case '\\': case '\'': case '"': case '?': return c;
    }
    int value = 0;
    if (c == 'x') {
        if (digit_value(*at) > 15)
            fail("hexadecimal digits expected behind '\\x'");
        while (digit_value(*at) < 16) {
            if (value > 15)
                fail("character value too large");
            value = value * 16 + digit_value(*at++);
        }
    } else if (c >= '0' && c <= '7') {
        at--;
        for (digits = 0; digits < 3 && *at >= '0' && *at <= '7'; digits++)
            value = value * 8 + *at++ - '0';
        if (value > 255)
            fail("character value too large");
    } else
        fail("escape sequence not known");
    after_character = at;
    return value;
}

struct node *character_constant(void)
{
    if (token->token_length == 2)
        fail("empty character constant");
    int value = character_at(token->token_text + 1);
    if (after_character != token->token_text + token->token_length - 1)
        fail("a character constant of more than one character is not implemented");
    value = value << 24 >> 24;
    return constant(in_condition ? type_llong : type_int, value, value >> 31);
}

struct node *float_number(char *text, int length, int base)
{
    struct type *type = type_double;
    int last = text[length - 1];
    if (last == 'f' || last == 'F')
        type = type_float;
    else if (last == 'l' || last == 'L')
        type = type_ldouble;
    if (type != type_double)
        length--;
    if (in_condition)
        fail("an integer expected in a condition");
    if (base == 16)
        read_float(text + 2, length - 2, 16, size_of(type));
    else
        read_float(text, length, 10, size_of(type));
    return float_constant(type);
}

struct node *number(void)
{
    int i;
    char *text = token->token_text;
    int length = token->token_length;
    int base = 10;
    if (text[0] == '0' && length > 1 && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        if (length == 2)
            fail("hexadecimal digits expected behind 0x");
    } else if (text[0] == '0')
        base = 8;
    for (i = 0; i < length; i++)
        if (text[i] == '.' || (text[i] | 32) == (base == 16 ? 'p' : 'e'))
            return float_number(text, length, base);
    i = base == 16 ? 2 : 0;
    int low = 0;
    int high = 0;
    for (; i < length && digit_value(text[i]) < (base == 16 ? 16 : 10); i++) {
        int digit = digit_value(text[i]);
        if (digit >= base)
            fail_about("digit not octal in ", text, length, "");
        append_digit(low, high, base, digit);
        low = low_word;
        high = high_word;
    }
    int is_unsigned = NO;
    int longs = 0;
    for (; i < length; i++)
        if ((text[i] == 'u' || text[i] == 'U') && !is_unsigned)
            is_unsigned = YES;
        else if ((text[i] == 'l' || text[i] == 'L') && longs == 0) {
            longs = 1;
            if (i + 1 < length && text[i + 1] == text[i]) {
                i++;
                longs = 2;
            }
        } else
            fail_about("number not understood: ", text, length, "");
    if (in_condition)
        longs = 2;
    if (longs < 2 && high == 0 && low >= 0)
        return constant(is_unsigned ? type_uint : type_int, low, high);
    if (longs < 2 && high == 0 && (is_unsigned || base != 10))
        return constant(type_uint, low, high);
    return constant(is_unsigned || high < 0 ? type_ullong : type_llong, low, high);
}

/* A string's bytes as a symbol in the section of constants; adjacent strings are one. */
struct node *string_literal(void)
{
    int start = constants_section->buffer_used;
    while (kind == TOKEN_STRING) {
        char *at = token->token_text + 1;
        char *end = at + token->token_length - 2;
        while (at < end) {
            put_byte(constants_section, character_at(at));
            at = after_character;
        }
        advance();
    }
    put_byte(constants_section, 0);
    struct symbol *symbol = new_global(0, array_of(type_char, constants_section->buffer_used - start));
    symbol->symbol_section = SECTION_CONSTANTS;
    symbol->symbol_value = start;
    return object_at(global_address(symbol));
}

/* Primary and postfix expressions */

struct node *name_value(void)
{
    struct symbol *symbol = token->token_name->name_symbol;
    if (!symbol)
        fail_name("not declared: ", token->token_name, "");
    if (symbol->symbol_kind == SYMBOL_TYPEDEF)
        fail_name("a value expected, and this is a type: ", token->token_name, "");
    advance();
    if (symbol->symbol_kind == SYMBOL_CONSTANT)
        return int_constant(symbol->symbol_value);
    if (symbol->symbol_kind == SYMBOL_LOCAL)
        return object_at(local_address(symbol->symbol_type, symbol->symbol_value));
    return object_at(global_address(symbol));
}

struct node *parse_primary(void)
{
    struct node *node;

    switch (kind) {
    case TOKEN_NAME:
        return name_value();
    case TOKEN_NUMBER:
        node = number();
        advance();
        return node;
    case TOKEN_CHARACTER:
        node = character_constant();
        advance();
        return node;
    case TOKEN_STRING:
        if (in_condition)
            fail("an integer expected in a condition");
        return string_literal();
    case '(':
        advance();
        if (kind == '{')
            fail("statements in expressions are not implemented");
        node = parse_expression();
        expect(')', "')'");
        return node;
    }
    expected("an expression");
    return 0;
}

/* What an argument without a declared type is passed as */
struct node *default_argument(struct node *value)
{
    value = promoted(value);
    if (value->node_type->type_kind == TYPE_FLOAT)
        return convert(value, type_double);
    if (value->node_type->type_kind == TYPE_VOID)
        fail("a value expected as argument");
    return value;
}

struct node *parse_call(struct node *function)
{
    function = decayed(function);
    if (!is_pointer(function->node_type) || function->node_type->type_base->type_kind != TYPE_FUNCTION)
        fail("a function expected before '('");
    struct type *type = function->node_type->type_base;
    struct node *call = new_node(NODE_CALL, type->type_base, function, 0);
    struct member *parameter = type->type_parameters;
    struct node *last = 0;
    int count = 0;
    advance();
    while (kind != ')') {
        struct node *argument = parse_assignment();
        if (parameter) {
            argument = assignable(argument, parameter->member_type);
            parameter = parameter->member_next;
        } else if (type->type_variadic || type->type_unprototyped)
            argument = default_argument(argument);
        else
            fail("too many arguments");
        argument = new_node(NODE_ARGUMENT, argument->node_type, argument, 0);
        if (last)
            last->node_next = argument;
        else
            call->node_right = argument;
        last = argument;
        if (argument->node_depth >= call->node_depth)
            call->node_depth = argument->node_depth + 1;
        if (++count > 200)
            fail("too many arguments");
        if (kind != ')')
            expect(',', "',' or ')'");
    }
    if (parameter)
        fail("too few arguments");
    advance();
    if (call->node_type->type_kind == TYPE_STRUCT)
        call->node_third = local_address(call->node_type, new_local(call->node_type));
    return call;
}

struct node *parse_subscript(struct node *node)
{
    advance();
    struct node *index = parse_expression();
    expect(']', "']'");
    node = binary(NODE_ADD, node, index);
    if (!is_pointer(node->node_type))
        fail("an array or pointer expected before '['");
    return object_at(node);
}

struct node *parse_member(struct node *node)
{
    if (kind == ARROW) {
        node = decayed(node);
        if (!is_pointer(node->node_type))
            fail("a pointer expected before '->'");
        node = object_at(node);
    }
    advance();
    if (kind != TOKEN_NAME)
        expected("a member's name");
    node = select_member(node, token->token_name);
    advance();
    return node;
}

struct node *parse_postfix(void)
{
    struct node *node = parse_primary();
    for (;;)
        switch (kind) {
        case '(': node = parse_call(node); break;
        case '[': node = parse_subscript(node); break;
        case '.':
        case ARROW: node = parse_member(node); break;
        case INCREMENT:
            node = postfix(NODE_ADD, node);
            advance();
            break;
        case DECREMENT:
            node = postfix(NODE_SUBTRACT, node);
            advance();
            break;
        default:
            return node;
        }
}

/* Unary operators */

struct node *parse_sizeof(void)
{
    struct type *type;

    advance();
    int used = frame_used;
    if (kind == '(' && type_follows()) {
        advance();
        type = parse_type_name();
        expect(')', "')'");
        if (kind == '{')
            fail("compound literals are not implemented");
    } else {
        struct node *node = parse_unary();
        if (node->node_kind == NODE_FIELD)
            fail("a bit-field has no size");
        type = node->node_type;
    }
    frame_used = used;
    return constant(type_uint, size_of(type), 0);
}

struct node *prefixed(int operator, struct node *node)
{
    switch (operator) {
    case '&': return address_of(node);
    case '-': return negative(node);
    case '~': return complement(node);
    case '!': return negation(node);
    case '*':
        node = decayed(node);
        if (!is_pointer(node->node_type))
            fail("a pointer expected behind '*'");
        return object_at(node);
    }
    node = promoted(node);
    if (!is_arithmetic(node->node_type))
        fail("a number expected behind '+'");
    return node;
}

struct node *parse_unary(void)
{
    struct node *node;

    nest();
    int operator = kind;
    switch (operator) {
    case INCREMENT:
    case DECREMENT:
        advance();
        node = assign_operation(operator == INCREMENT ? NODE_ADD : NODE_SUBTRACT, parse_unary(), int_constant(1));
        break;
    case '&': case '*': case '+': case '-': case '~': case '!':
        advance();
        node = prefixed(operator, parse_cast());
        break;
    case AND_AND:
        fail("addresses of labels are not implemented");
    case KEYWORD_SIZEOF:
        node = parse_sizeof();
        break;
    default:
        node = parse_postfix();
    }
    nesting--;
    return node;
}

struct node *parse_cast(void)
{
    if (kind != '(' || in_condition || !type_follows())
        return parse_unary();
    nest();
    advance();
    struct type *type = parse_type_name();
    expect(')', "')'");
    if (kind == '{')
        fail("compound literals are not implemented");
    struct node *node = decayed(parse_cast());
    if (type->type_kind == TYPE_STRUCT)
        fail("a struct or union cannot be cast");
    node = convert(node, type);
    if (node->node_kind == NODE_INDIRECT || node->node_kind == NODE_FIELD)
        node = new_node(NODE_CONVERT, type, node, 0);
    nesting--;
    return node;
}

/* Binary operators */

/* Operators: the token, its precedence and its kind of node, which assignments with an operator have too */
int operators[] = {
    '*', 10, NODE_MULTIPLY, '/', 10, NODE_DIVIDE, '%', 10, NODE_MODULO, '+', 9, NODE_ADD, '-', 9, NODE_SUBTRACT,
    SHIFT_LEFT, 8, NODE_SHIFT_LEFT, SHIFT_RIGHT, 8, NODE_SHIFT_RIGHT, '<', 7, NODE_LESS, '>', 7, NODE_GREATER,
    LESS_EQUAL, 7, NODE_LESS_EQUAL, GREATER_EQUAL, 7, NODE_GREATER_EQUAL, EQUAL_EQUAL, 6, NODE_EQUAL,
    NOT_EQUAL, 6, NODE_NOT_EQUAL, '&', 5, NODE_AND, '^', 4, NODE_XOR, '|', 3, NODE_OR, AND_AND, 2, NODE_AND_AND,
    OR_OR, 1, NODE_OR_OR, ASSIGN_MULTIPLY, 0, NODE_MULTIPLY, ASSIGN_DIVIDE, 0, NODE_DIVIDE, ASSIGN_MODULO, 0, NODE_MODULO,
    ASSIGN_ADD, 0, NODE_ADD, ASSIGN_SUBTRACT, 0, NODE_SUBTRACT, ASSIGN_LEFT, 0, NODE_SHIFT_LEFT,
    ASSIGN_RIGHT, 0, NODE_SHIFT_RIGHT, ASSIGN_AND, 0, NODE_AND, ASSIGN_XOR, 0, NODE_XOR, ASSIGN_OR, 0, NODE_OR, 0, 0, 0
};

/* The row of an operator, or the last one, which is zeros */
int *operator_row(int operator)
{
    int *row = operators;
    while (*row && *row != operator)
        row += 3;
    return row;
}

struct node *parse_binary(int least)
{
    struct node *left = parse_cast();
    int *row = operator_row(kind);
    while (row[1] >= least) {
        advance();
        struct node *right = parse_binary(row[1] + 1);
        if (row[2] == NODE_AND_AND || row[2] == NODE_OR_OR)
            left = logical(row[2], left, right);
        else
            left = binary(row[2], left, right);
        row = operator_row(kind);
    }
    return left;
}

/* The type of condition ? left : right */
struct type *conditional_type(struct node *left, struct node *right)
{
    struct type *a = left->node_type;
    struct type *b = right->node_type;
    if (is_arithmetic(a) && is_arithmetic(b))
        return common_type(promoted(left)->node_type, promoted(right)->node_type);
    if (is_pointer(a) && is_null(right))
        return a;
    if (is_pointer(b) && is_null(left))
        return b;
    if (is_pointer(a) && is_pointer(b) && same_target(a->type_base, b->type_base))
        return a->type_base->type_kind == TYPE_VOID ? a : b->type_base->type_kind == TYPE_VOID ? b : a;
    if (a->type_kind == TYPE_VOID || b->type_kind == TYPE_VOID)
        return type_void;
    if (a->type_kind != TYPE_STRUCT || !compatible(a, b))
        fail("the values of '?:' have types that do not go together");
    return a;
}

struct node *parse_conditional(void)
{
    struct node *node;
    struct node *condition = parse_binary(1);
    if (kind != '?')
        return condition;
    nest();
    condition = condition_of(condition);
    advance();
    if (kind == ':')
        fail("'?:' without a value is not implemented");
    struct node *left = decayed(parse_expression());
    expect(':', "':'");
    struct node *right = decayed(parse_conditional());
    nesting--;
    struct type *type = conditional_type(left, right);
    if (type->type_kind != TYPE_STRUCT) {
        left = convert(left, type);
        right = convert(right, type);
    }
    if (is_constant(condition)) {
        node = condition->node_low ? left : right;
        return node->node_kind == NODE_INDIRECT ? new_node(NODE_CONVERT, type, node, 0) : node;
    }
    node = new_node(NODE_CONDITIONAL, type, condition, left);
    node->node_third = right;
    if (right->node_depth >= node->node_depth)
        node->node_depth = right->node_depth + 1;
    return node;
}

struct node *parse_assignment(void)
{
    struct node *left = parse_conditional();
    int operator = kind;
    if (operator != '=' && (operator < ASSIGN_LEFT || operator > ASSIGN_XOR))
        return left;
    nest();
    advance();
    if (operator == '=')
        left = assign(left, parse_assignment());
    else
        left = assign_operation(operator_row(operator)[2], left, parse_assignment());
    nesting--;
    return left;
}

struct node *parse_expression(void)
{
    struct node *node = parse_assignment();
    while (kind == ',') {
        advance();
        node = comma(node, decayed(parse_assignment()));
    }
    return node;
}

/* An integer known when it is compiled */
struct node *parse_constant(void)
{
    struct node *node = parse_conditional();
    if (!is_constant(node) || !is_integer(node->node_type))
        fail("an integer constant expected");
    return node;
}

int parse_int_constant(void)
{
    struct node *node = parse_constant();
    if (node->node_high != node->node_low >> 31 && !(node->node_high == 0 && node->node_type->type_unsigned))
        fail("constant too large");
    return node->node_low;
}

/* The value of a condition of the preprocessor, up to the end of the line */
int evaluate_condition(void)
{
    struct token *save = token;
    struct token *save_ahead = ahead;
    int save_kind = kind;
    ahead = 0;
    in_condition = YES;
    advance();
    struct node *node = parse_constant();
    if (kind != TOKEN_NEWLINE)
        expected("the end of the condition");
    in_condition = NO;
    token = save;
    ahead = save_ahead;
    kind = save_kind;
    return (node->node_low | node->node_high) != 0;
}
