/* Statements and functions: code is made as they are read. */

struct type *function_type;
int return_label;
int break_label;       /* -1 outside of loops and switches */
int continue_label;

/* Labels that the program gives */
struct label {
    struct name *label_name;
    int label_number;
    int label_defined;
    struct label *label_next;
};

struct label *labels;

struct label *find_label(struct name *name)
{
    struct label *label;

    for (label = labels; label; label = label->label_next)
        if (label->label_name == name)
            return label;
    label = (struct label *)allocate(sizeof(struct label));
    label->label_name = name;
    label->label_number = new_label();
    label->label_next = labels;
    labels = label;
    return label;
}

/* A case of a switch */
struct case_label {
    int case_value;
    int case_number;
    struct case_label *case_next;
};

enum { CASES = 4096 };

struct switch_block {
    struct case_label *switch_cases;    /* the last one first */
    int switch_count;
    int switch_default;                 /* a label, or -1 */
};

struct switch_block *current_switch;

/* Code for an expression whose value is not used */
void gen_effect(struct node *node)
{
    if (node->node_kind == NODE_COMMA) {
        gen_effect(node->node_left);
        gen_effect(node->node_right);
    } else if (node->node_kind == NODE_CONVERT && node->node_type->type_kind == TYPE_VOID)
        gen_effect(node->node_left);
    else if (node->node_kind != NODE_INDIRECT || !is_address(node->node_left)) {
        gen(node);
        drop_value(node->node_type);
    }
}

void parse_statement(void);

struct node *parse_condition(void)
{
    expect('(', "'('");
    struct node *node = condition_of(parse_expression());
    expect(')', "')'");
    return node;
}

void parse_body(int break_to, int continue_to)
{
    int save_break = break_label;
    int save_continue = continue_label;
    break_label = break_to;
    continue_label = continue_to;
    parse_statement();
    break_label = save_break;
    continue_label = save_continue;
}

void parse_if(void)
{
    advance();
    int otherwise = new_label();
    gen_branch(parse_condition(), otherwise, NO);
    parse_statement();
    if (kind == KEYWORD_ELSE) {
        advance();
        int end = new_label();
        emit_jump(JUMP, end);
        put_label(otherwise);
        parse_statement();
        put_label(end);
    } else
        put_label(otherwise);
}

void parse_while(void)
{
    advance();
    int begin = new_label();
    int end = new_label();
    put_label(begin);
    gen_branch(parse_condition(), end, NO);
    parse_body(end, begin);
    emit_jump(JUMP, begin);
    put_label(end);
}

void parse_do(void)
{
    advance();
    int begin = new_label();
    int next = new_label();
    int end = new_label();
    put_label(begin);
    parse_body(end, next);
    put_label(next);
    if (kind != KEYWORD_WHILE)
        expected("'while'");
    advance();
    gen_branch(parse_condition(), begin, YES);
    put_label(end);
    expect(';', "';'");
}

/* The temporaries of the condition and of the step live as long as the loop, whose caller frees them. */
void parse_for(void)
{
    advance();
    expect('(', "'('");
    enter_scope();
    int begin = new_label();
    int next = new_label();
    int end = new_label();
    if (starts_type(kind, token))
        parse_declaration();
    else {
        if (kind != ';')
            gen_effect(parse_expression());
        expect(';', "';'");
    }
    put_label(begin);
    if (kind != ';')
        gen_branch(condition_of(parse_expression()), end, NO);
    expect(';', "';'");
    struct node *step = kind == ')' ? 0 : parse_expression();
    expect(')', "')'");
    parse_body(end, next);
    put_label(next);
    if (step)
        gen_effect(step);
    emit_jump(JUMP, begin);
    put_label(end);
    leave_scope();
}

void parse_switch(void)
{
    advance();
    expect('(', "'('");
    struct node *value = promoted(parse_expression());
    expect(')', "')'");
    if (!is_integer(value->node_type))
        fail("an integer expected in switch");
    if (is_64(value->node_type))
        fail("switch over a 64-bit integer is not implemented");
    struct switch_block *block = (struct switch_block *)allocate(sizeof(struct switch_block));
    block->switch_default = -1;
    struct switch_block *outer = current_switch;
    current_switch = block;
    int select = new_label();
    int end = new_label();
    gen(value);
    emit_jump(JUMP, select);
    parse_body(end, continue_label);
    emit_jump(JUMP, end);
    put_label(select);
    struct case_label *label;
    for (label = block->switch_cases; label; label = label->case_next) {
        emit_word(0x3d, label->case_value);         /* cmp eax, n */
        emit_jump(JUMP_EQUAL, label->case_number);
    }
    emit_jump(JUMP, block->switch_default < 0 ? end : block->switch_default);
    put_label(end);
    current_switch = outer;
}

void add_case(int value, int number)
{
    struct case_label *label;

    for (label = current_switch->switch_cases; label; label = label->case_next)
        if (label->case_value == value)
            fail("this case was before");
    if (++current_switch->switch_count > CASES)
        fail("too many cases");
    label = (struct case_label *)allocate(sizeof(struct case_label));
    label->case_value = value;
    label->case_number = number;
    label->case_next = current_switch->switch_cases;
    current_switch->switch_cases = label;
}

void parse_cases(void)
{
    int number = new_label();
    put_label(number);
    if (!current_switch)
        fail("not in a switch");
    while (kind == KEYWORD_CASE || kind == KEYWORD_DEFAULT) {
        if (accept(KEYWORD_DEFAULT)) {
            if (current_switch->switch_default >= 0)
                fail("default was before");
            current_switch->switch_default = number;
        } else {
            advance();
            add_case(parse_int_constant(), number);
            if (kind == ELLIPSIS)
                fail("ranges of cases are not implemented");
        }
        expect(':', "':'");
    }
    parse_statement();
}

void parse_return(void)
{
    advance();
    struct type *type = function_type->type_base;
    if (kind != ';') {
        struct node *value = parse_expression();
        if (type->type_kind == TYPE_VOID) {
            if (value->node_type->type_kind != TYPE_VOID)
                fail("a function of type void cannot return a value");
            gen_effect(value);
        } else {
            gen(assignable(value, type));
            if (type->type_kind == TYPE_STRUCT) {
                emit(0x8b5508);                     /* mov edx, [ebp+8] */
                emit_copy(size_of(type));
            }
        }
    } else if (type->type_kind != TYPE_VOID)
        fail("a value expected behind 'return'");
    expect(';', "';'");
    emit_jump(JUMP, return_label);
}

/* Behind '{', up to '}' */
void parse_block(void)
{
    enter_scope();
    while (kind != '}') {
        if (kind == TOKEN_END)
            expected("'}'");
        if (starts_type(kind, token) && peek() != ':')
            parse_declaration();
        else
            parse_statement();
    }
    leave_scope();
}

void parse_jump(int label, char *what)
{
    if (label < 0)
        fail_about("not in a loop or switch: ", what, length_of(what), "");
    advance();
    emit_jump(JUMP, label);
    expect(';', "';'");
}

void parse_goto(void)
{
    advance();
    if (kind == '*')
        fail("computed goto is not implemented");
    if (kind != TOKEN_NAME)
        expected("a label");
    emit_jump(JUMP, find_label(token->token_name)->label_number);
    advance();
    expect(';', "';'");
}

void parse_label(void)
{
    struct label *label = find_label(token->token_name);
    if (label->label_defined)
        fail_name("label given twice: ", token->token_name, "");
    label->label_defined = YES;
    put_label(label->label_number);
    advance();
    advance();
    parse_statement();
}

void parse_statement(void)
{
    nest();
    int used = frame_used;
    switch (kind) {
    case '{':
        advance();
        parse_block();
        advance();
        break;
    case ';': advance(); break;
    case KEYWORD_IF: parse_if(); break;
    case KEYWORD_WHILE: parse_while(); break;
    case KEYWORD_DO: parse_do(); break;
    case KEYWORD_FOR: parse_for(); break;
    case KEYWORD_SWITCH: parse_switch(); break;
    case KEYWORD_CASE:
    case KEYWORD_DEFAULT: parse_cases(); break;
    case KEYWORD_RETURN: parse_return(); break;
    case KEYWORD_BREAK: parse_jump(break_label, "break"); break;
    case KEYWORD_CONTINUE: parse_jump(continue_label, "continue"); break;
    case KEYWORD_GOTO: parse_goto(); break;
    case KEYWORD_ASM: fail("asm is not implemented");
    default:
        if (kind == TOKEN_NAME && peek() == ':')
            parse_label();
        else {
            gen_effect(parse_expression());
            expect(';', "';'");
        }
    }
    frame_used = used;
    nesting--;
}

void declare_parameters(struct type *type)
{
    struct member *parameter;
    int place = type->type_base->type_kind == TYPE_STRUCT ? 12 : 8;
    for (parameter = type->type_parameters; parameter; parameter = parameter->member_next) {
        if (!parameter->member_name)
            fail("a name expected for each parameter");
        if (!is_complete(parameter->member_type))
            fail_name("type not complete: ", parameter->member_name, "");
        declare(parameter->member_name, SYMBOL_LOCAL, parameter->member_type)->symbol_value = place;
        place += round_up(size_of(parameter->member_type), 4);
    }
}

/* A function's body, at its '{' */
void define_function(struct symbol *symbol, struct type *type)
{
    struct label *label;

    if (type->type_base->type_kind != TYPE_VOID && !is_complete(type->type_base))
        fail("the type of the result is not complete");
    symbol->symbol_section = SECTION_TEXT;
    symbol->symbol_value = text_section->buffer_used;
    function_type = type;
    frame_used = 0;
    frame_most = 0;
    labels = 0;
    return_label = new_label();
    break_label = -1;
    continue_label = -1;
    current_switch = 0;
    emit(0x55);                                     /* push ebp */
    emit(0x89e5);                                   /* mov ebp, esp */
    emit_word(0x81ec, 0);                           /* sub esp, n */
    int frame_place = text_section->buffer_used - 4;
    enter_scope();
    declare_parameters(type);
    advance();
    parse_block();
    leave_scope();
    if (name_is(symbol->symbol_name, "main"))
        emit(0x31c0);                               /* xor eax, eax */
    put_label(return_label);
    emit(0xc9c3);                                   /* leave, ret */
    for (label = labels; label; label = label->label_next)
        if (!label->label_defined)
            fail_name("label not given: ", label->label_name, "");
    set_word(text_section, frame_place, frame_most);
    settle_jumps();
    accept('}');
}
