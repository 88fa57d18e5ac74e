# mc: a compiler for a small part of C. README.md defines the language and the code that mc makes.

# Words: instructions. [] is the memory whose address follows, [ebx+] that at a distance of one byte that follows,
# a comma at the end a number that follows; a number for al, ah, cl, dl, a byte in memory or shl is one byte.
=add_[], 8105  =add_[],eax 0105  =add_dl, 80C2  =add_eax, 05  =add_eax,ecx 01C8  =add_ebx, 81C3
=add_ebx,eax 01C3  =add_edx, 81C2  =add_esi,ecx 01CE  =and_eax, 25  =call E8  =clc F8  =cmp_[], 813D
=cmp_[ebx+], 817B  =cmp_[edx], 813A  =cmp_al, 3C  =cmp_bl,[edx+4] 3A5A04  =cmp_cl, 80F9  =cmp_eax, 3D
=cmp_eax,[] 3B05  =cmp_eax,[ebx+] 3B43  =cmp_eax,edx 39D0  =cmp_ebx, 81FB  =cmp_ebx,[] 3B1D  =cmp_ecx, 81F9
=cmp_ecx,[] 3B0D  =cmp_ecx,[ebx+] 3B4B  =cmp_ecx,[edx] 3B0A  =cmp_edi, 81FF  =cmp_edx,edi 39FA  =cmp_esi,[] 3B35
=cmpb_[ecx+edx], 803C11  =cmpb_[edx+5], 807A05  =cmpb_[esi], 803E  =dec_[] FF0D  =dec_eax 48  =dec_ecx 49
=dec_esi 4E  =div_ebx F7F3  =imul_ebx,ebx, 69DB  =inc_[] FF05  =inc_eax 40  =inc_ebp 45  =inc_ebx 43
=inc_edi 47  =inc_edx 42  =inc_esi 46  =int_0x80 CD80  =ja 0F87  =jae 0F83  =jb 0F82  =jbe 0F86  =je 0F84
=jmp E9  =jmp_edx FFE2  =jne 0F85  =jo 0F80  =lea_eax,[ecx+4] 8D4104  =lea_edi,[ecx-1] 8D79FF
=lea_edx,[ecx+6] 8D5106  =lea_edx,[esi-1] 8D56FF  =lea_esi,[edx+6] 8D7206  =lodsb AC  =mov_[], C705
=mov_[],eax A3  =mov_[],ebx 891D  =mov_[],ecx 890D  =mov_[],edi 893D  =mov_[],edx 8915  =mov_[],esi 8935
=mov_[ebx+], C743  =mov_[ebx+],eax 8943  =mov_[ebx+],ecx 894B  =mov_[ebx+],edi 897B  =mov_[ebx],edx 8913
=mov_[ecx-4],eax 8941FC  =mov_[ecx],dl 8811  =mov_[edi-4],eax 8947FC  =mov_[edi],cl 880F  =mov_[edx+],eax 8942
=mov_ah, B4  =mov_ah,[esi] 8A26  =mov_al, B0  =mov_al,[edx+6] 8A4206  =mov_al,[esi] 8A06  =mov_bl,[edx+4] 8A5A04
=mov_cl, B1  =mov_cl,[ecx+1] 8A4901  =mov_cl,[edi-5] 8A4FFB  =mov_cl,[edx+5] 8A4A05  =mov_cl,[esi] 8A0E
=mov_cl,al 88C1  =mov_eax, B8  =mov_eax,[] A1  =mov_eax,[ebx+] 8B43  =mov_eax,[edx] 8B02
=mov_eax,[esp+8] 8B442408  =mov_eax,ebp 89E8  =mov_eax,ecx 89C8  =mov_eax,edi 89F8  =mov_ebp, BD  =mov_ebx, BB
=mov_ebx,[] 8B1D  =mov_ebx,eax 89C3  =mov_ecx, B9  =mov_ecx,[] 8B0D  =mov_ecx,[ebx+] 8B4B  =mov_ecx,[esp] 8B0C24
=mov_ecx,eax 89C1  =mov_ecx,edx 89D1  =mov_ecx,esi 89F1  =mov_edi, BF  =mov_edi,[ebx] 8B3B  =mov_edi,ecx 89CF
=mov_edx, BA  =mov_edx,[] 8B15  =mov_edx,[ecx-4] 8B51FC  =mov_edx,[esp] 8B1424  =mov_edx,eax 89C2
=mov_edx,esi 89F2  =mov_esi, BE  =mov_esi,[] 8B35  =mov_esi,ecx 89CE  =mov_esi,edx 89D6  =movb_[eax], C600
=movb_[ecx], C601  =movb_[edi], C607  =movsx_eax,al 0FBEC0  =neg_eax F7D8  =or_cl, 80C9  =orb_[ecx+1], 804901
=pop_[] 8F05  =pop_eax 58  =pop_ebx 5B  =pop_ecx 59  =pop_edi 5F  =pop_edx 5A  =pop_esi 5E  =push_0 6A00
=push_[] FF35  =push_[ecx+2] FF7102  =push_[edi-4] FF77FC  =push_eax 50  =push_ebx 53  =push_ecx 51
=push_edi 57  =push_edx 52  =push_esi 56  =rep_movsb F3A4  =repe_cmpsb F3A6  =repne_scasw 66F2AF  =ret C3
=shl_eax, C1E0  =stc F9  =stosb AA  =stosd AB  =sub_al, 2C  =sub_cl, 80E9  =sub_eax, 2D  =sub_eax,ecx 29C8
=sub_eax,edi 29F8  =sub_ebx, 81EB  =sub_ecx, 81E9  =sub_ecx,edx 29D1  =test_eax,eax 85C0  =test_ebx,ebx 85DB
=test_ecx,ecx 85C9  =xchg_edx,esi 87F2  =xor_eax,eax 31C0  =xor_ebx,ebx 31DB  =xor_ecx,ecx 31C9
=xor_edx,edx 31D2

# Words: signs as they are in token
='(' 28000000  =')' 29000000  ='=' 3D000000  ='-' 2D000000  ='~' 7E000000  ='!' 21000000  ='++' 2B2B0000
='[' 5B000000  =']' 5D000000  =',' 2C000000  ='{' 7B000000  =';' 3B000000  ='}' 7D000000  ='*' 2A000000

# Words: kinds of tokens and names
=number_ 02000000  =string_ 03000000  =new_ 04000000  =constant_ 05000000  =variable_ 06000000
=int_array 07000000  =char_array 08000000  =local_int 09000000  =local_chars 0A000000  =function_ 0B000000
=local_ints 0C000000  =int_ 10000000  =char_ 11000000  =enum_ 12000000  =if_ 13000000  =else_ 14000000
=while_ 15000000  =return_ 16000000  =for_ 18000000

# Words: a name's entry has 32 bytes: address of its text, length, and at these distances
=size 04  =kind 08  =value 0C  =parameters 10  =calls 14  =declared 18

# Words: memory behind the program, all zero at first
=in_name 00000608  =out_name 04000608  =text_end 08000608  =bss 0C000608  =globals 10000608  =scope 14000608
=names_end 18000608  =syscall 1C000608  =token 20000608  =number 24000608  =symbol 28000608  =name 2C000608
=length 30000608  =lea 34000608  =slots 38000608  =depth 3C000608  =digits 00010608  =names 00001008
=names_full 00001208  =text 00002008  =out 00004008  =out_full 00008008  =program_size 44004008
=program_memory 48004008

# ELF header and program header, as in the seed. They serve as a pattern for the program that is made.
:image 7F454C46010101000000000000000000 0200030001000000 @start %52 %0 %0 3400200001000000 00000000
%1 %0 @image @image %5546 %9437184 %7 %4096

# Read the source.
:start pop_eax pop_ebx pop_ebx                              # number of words, own name, source
mov_[], in_name @own_name                                   # as long as the source's name is not known
mov_edx, @usage cmp_eax, %3 jne >fail
mov_[],ebx in_name pop_[] out_name
xor_ecx,ecx mov_eax, %5 int_0x80                            # open for reading
mov_ebx,eax mov_ecx, text mov_edx, %1048576
mov_eax, %3 int_0x80                                        # read
cmp_eax,edx mov_edx, @cannot_read jae >fail                 # an error, which is negative, or too much
add_eax,ecx mov_[],eax text_end
movb_[eax], 0A                                              # ends the last line

# Enter the keywords and the function syscall, which comes last.
mov_[], names_end names
mov_esi, @keywords
:keyword xor_eax,eax lodsb mov_edx,eax                      # length of the name; 0 ends the table
test_eax,eax je >keywords_done
lodsb mov_ecx,edx mov_edx,esi add_esi,ecx                   # kind
call >add_name jmp >keyword
:keywords_done mov_[],ebx syscall
mov_[ebx+], parameters %4 mov_[ebx+], value %1 mov_[ebx+], declared %1
mov_eax,[] names_end mov_[],eax globals mov_[],eax scope

# Compile the source, then add the code that calls main with two words of the stack and ends the process.
mov_[], bss %138706944                                      # 08448000
mov_esi, @image mov_edi, out mov_ecx, %84 rep_movsb
mov_esi, text mov_ebp, %1
call >next
:items mov_eax,[] token
cmp_eax, int_ je >int_item
cmp_eax, char_ je >char_item
cmp_eax, enum_ je >enum_item
test_eax,eax jne >unexpected
mov_edx, @main mov_ecx, %4 call >find mov_edx, @no_main
test_ebx,ebx je >fail
cmp_[ebx+], kind function_ jne >fail
cmp_[ebx+], parameters %2 jne >fail
call >emit 09 8B04248D4C24045051
call >emit_call
call >emit 09 89C3B801000000CD80

# A function that is called must be defined.
mov_ebx, names mov_edx, @undefined
:check cmp_ebx,[] names_end je >write
cmp_[ebx+], value %0 jne >check_next
cmp_[ebx+], calls %0 jne >fail
:check_next add_ebx, %32 jmp >check

# Write the program with its sizes in its header.
:write mov_eax,edi sub_eax, out mov_[],eax program_size
cmp_eax, %4194304 ja >too_large
mov_eax,[] bss sub_eax, @image mov_[],eax program_memory
mov_ebx,[] out_name mov_ecx, %577 mov_edx, %493 mov_eax, %5 int_0x80  # open to write, made anew, permissions 755
mov_ebx,eax mov_ecx, out mov_edx,[] program_size
mov_eax, %4 int_0x80                                        # write
cmp_eax,edx mov_edx, @cannot_write jne >fail
xor_ebx,ebx
:exit mov_eax, %1 int_0x80

# Print the source's name, the line and the message at edx; exit status 1.
:unexpected mov_edx, @unexpected_message
:fail push_edx
mov_ecx,[] in_name call >put
mov_ecx, @mark call >put
mov_ecx, digits mov_eax,ebp mov_ebx, %10
:digit xor_edx,edx div_ebx add_dl, 30 dec_ecx mov_[ecx],dl
test_eax,eax jne >digit
call >put
mov_ecx, @colon call >put
pop_ecx call >put
mov_ecx, @newline call >put
mov_ebx, %1 jmp >exit
:put xor_edx,edx                                            # the text at ecx, up to a zero byte
:measure cmpb_[ecx+edx], 00 je >measured
inc_edx jmp >measure
:measured mov_ebx, %2 mov_eax, %4 int_0x80 ret

# The next item of the source goes to token: its kind; for signs their one or two characters.
# A name: name, length, and symbol if it is known. A number: number. A string: name.
:next mov_[], token %0
cmp_esi,[] text_end jae >return
xor_eax,eax lodsb
cmp_al, 0A je >line_end
cmp_al, 20 je >next
cmp_al, 09 jb >unexpected cmp_al, 0D jbe >next               # tabs and the like
cmp_al, 20 jb >unexpected
cmp_al, 2F jne >no_comment                                  # '/'
cmpb_[esi], 2F jne >no_comment
:comment inc_esi cmpb_[esi], 0A jne >comment
jmp >next
:line_end inc_ebp jmp >next
:no_comment
cmp_al, 22 je >string_item
cmp_al, 27 je >character_item
call >letter jb >name_item
cmp_al, 30 jb >sign                                         # before '0'
cmp_al, 39 jbe >number_item                                 # '0' to '9'
:sign mov_ah,[esi] push_edi                                 # are this and the next character a pair?
mov_edi, @pairs mov_ecx, %10 repne_scasw pop_edi
je >pair
mov_ah, 00 dec_esi
:pair inc_esi mov_[],eax token ret

:name_item lea_edx,[esi-1]
:name_more mov_al,[esi] call >letter_or_digit jae >name_end
inc_esi jmp >name_more
:name_end mov_ecx,esi sub_ecx,edx
mov_[],edx name mov_[],ecx length
call >find mov_[],ebx symbol
mov_[], token new_
test_ebx,ebx je >return
mov_eax,[ebx+] kind mov_[],eax token ret

:letter_or_digit mov_cl,al sub_cl, 30 cmp_cl, 0A jb >return # carry: yes
:letter mov_cl,al or_cl, 20 sub_cl, 61 cmp_cl, 1A jb >return
cmp_al, 5F stc je >return                                   # '_'
clc
:return ret

:number_item sub_eax, %48 mov_ebx,eax                       # '0'
:number_more mov_al,[esi] call >letter_or_digit jae >number_end
mov_edx, @bad_number
test_ebx,ebx je >fail                                       # no 0 in front
sub_al, 30 cmp_al, 09 ja >fail
imul_ebx,ebx, %10 jo >fail
add_ebx,eax jo >fail
inc_esi jmp >number_more
:number_end mov_[],ebx number mov_[], token number_ ret

:character_item cmpb_[esi], 27 je >bad_character
call >character movsx_eax,al mov_[],eax number
mov_[], token number_
lodsb cmp_al, 27 je >return
:bad_character mov_edx, @bad_character_message jmp >fail

:string_item mov_[],esi name mov_[], token string_
:string_more cmpb_[esi], 22 je >string_end
call >character jmp >string_more
:string_end inc_esi ret

:character xor_eax,eax lodsb                                # one character or its escape to al
cmp_al, 0A je >bad_character
cmp_al, 5C jne >return                                      # '\'
lodsb
cmp_al, 5C je >return
cmp_al, 27 je >return
cmp_al, 22 je >return
cmp_al, 6E jne >not_n mov_al, 0A ret
:not_n cmp_al, 74 jne >bad_character mov_al, 09 ret

:expect pop_edx mov_eax,[edx] cmp_eax,[] token jne >unexpected # the token behind the call must come next
add_edx, %4 push_edx jmp >next

# Names: the newest first, so that a local name hides a global one.
:find mov_ebx,[] names_end                                  # ecx bytes at edx; ebx becomes the entry or 0
:find_more sub_ebx, %32 cmp_ebx, names jb >not_found
cmp_ecx,[ebx+] size jne >find_more
push_esi push_edi push_ecx
mov_esi,edx mov_edi,[ebx] repe_cmpsb
pop_ecx pop_edi pop_esi
jne >find_more
ret
:not_found xor_ebx,ebx ret

:add_name mov_ebx,[] names_end                              # ecx bytes at edx of kind eax; ebx becomes the entry
cmp_ebx, names_full jae >too_large
mov_[ebx],edx mov_[ebx+],ecx size mov_[ebx+],eax kind
xor_eax,eax mov_[ebx+],eax value mov_[ebx+],eax parameters
mov_[ebx+],eax calls mov_[ebx+],eax declared
add_[], names_end %32 ret
:too_large mov_edx, @too_large_message jmp >fail

:new_name mov_ecx,[] token                                  # the next item as a new name of kind eax; ebx becomes the entry
cmp_ecx, new_ jb >unexpected je >is_new
cmp_ecx, int_ jae >unexpected                               # keywords and signs
mov_ecx,[] symbol cmp_ecx,[] scope
mov_edx, @twice jae >fail
:is_new mov_edx,[] name mov_ecx,[] length call >add_name
push_ebx call >next pop_ebx ret

# Code: edi is where it goes.
:emit pop_edx xchg_edx,esi                                  # the bytes behind the call, after their number
xor_ecx,ecx mov_cl,[esi] inc_esi
cmp_edi, out_full jae >too_large
rep_movsb xchg_edx,esi jmp_edx

:emit_lea mov_[],edi lea                                    # after 8D, the byte in cl and the number in eax
movb_[edi], 8D inc_edi mov_[edi],cl inc_edi stosd ret

:emit_call call >emit 01 E8                                 # the function at ebx
mov_eax,[ebx+] value test_eax,eax je >unknown_yet
sub_eax,edi sub_eax, %4 stosd ret
:unknown_yet mov_eax,[ebx+] calls stosd mov_[ebx+],edi calls ret

:land mov_[], lea %0                                        # the jump whose field ends at ecx comes here
mov_eax,edi sub_eax,ecx mov_[ecx-4],eax ret

:load cmp_eax, %4 jb >return                                # turn the operand of type eax into a value
cmp_eax, %7 je >load_char
mov_ecx,[] lea lea_edx,[ecx+6] cmp_edx,edi jne >load_address
movb_[ecx], 8B mov_[], lea %0
and_eax, %3 ret
:load_address call >emit 02 8B00
and_eax, %3 ret
:load_char call >emit 03 0FBE00
xor_eax,eax ret

:load_int call >load test_eax,eax je >return                # the same, but it must be an integer
mov_edx, @pointer jmp >fail

:pop_left lea_edx,[ecx+6] cmp_edx,edi jne >pop_any          # the right operand's code goes from ecx to edi
orb_[ecx+1], 08 push_esi
mov_esi,ecx lea_edi,[ecx-1] mov_ecx, %6 rep_movsb
pop_esi mov_[], lea %0 ret
:pop_any call >emit 03 89C158 ret

:condition call >expect '(' call >expression call >load     # a jump if it is false; its field ends at edi
call >expect ')'
call >emit 08 85C00F8400000000 ret

# Expressions: eax becomes the type of what they leave in the program's eax.
# 0 an integer, 1 a pointer to char, 2 a pointer to int; or the address of 4, 5, 6 one of these, 7 a char.
:expression call >deeper
mov_ebx, %1 call >binary
cmp_[], token '=' jne >shallower
mov_edx, @no_variable cmp_eax, %4 jb >fail
push_eax mov_ecx,[] lea lea_edx,[ecx+6] cmp_edx,edi je >store_direct
call >emit 01 50
call >next call >expression call >load
pop_eax
cmp_eax, %7 je >store_char
call >emit 03 598901
and_eax, %3 jmp >shallower
:store_char call >emit 06 5988010FBEC0
xor_eax,eax jmp >shallower
:store_direct push_[ecx+2] mov_edi,ecx mov_cl,[ecx+1] push_ecx # without the lea
mov_[], lea %0
call >next call >expression call >load
call >emit 01 89
pop_eax stosb pop_eax stosd
pop_eax and_eax, %3
:shallower dec_[] depth ret
:deeper inc_[] depth cmp_[], depth %500 jbe >return
mov_edx, @too_deep jmp >fail

:binary push_ebx call >unary                                # operators of level ebx or higher
:operator pop_ebx push_ebx
mov_edx, @operators mov_ecx,[] token
:operator_more cmp_[edx], %0 je >no_operator
cmp_ecx,[edx] je >operator_found
add_edx, %16 jmp >operator_more
:operator_found cmp_bl,[edx+4] ja >no_operator
push_edx call >load_int call >next pop_edx
xor_ebx,ebx mov_bl,[edx+4] inc_ebx push_edx
cmpb_[edx+5], 00 je >logical
call >emit 01 50
push_edi call >binary call >load_int
pop_ecx call >pop_left
pop_edx push_esi
xor_ecx,ecx mov_cl,[edx+5] lea_esi,[edx+6] rep_movsb
pop_esi xor_eax,eax jmp >operator
:no_operator pop_ebx ret
:logical call >emit 03 85C00F
mov_edx,[esp] mov_al,[edx+6] stosb stosd                    # jump if decided
push_edi call >binary call >load_int
call >emit 02 85C0
pop_ecx call >land pop_edx
call >emit 06 0F95C00FB6C0
xor_eax,eax jmp >operator

:unary call >deeper call >operand jmp >shallower
:operand mov_eax,[] token
cmp_eax, '(' je >parenthesis
cmp_eax, '-' je >minus
cmp_eax, '~' je >complement
cmp_eax, '!' je >not
cmp_eax, number_ je >number_operand
cmp_eax, string_ je >string_operand
mov_ebx,[] symbol
cmp_eax, constant_ je >constant_operand
cmp_eax, function_ je >call_operand
mov_edx, @undeclared cmp_eax, new_ je >fail
cmp_eax, int_ jae >unexpected
cmp_eax, constant_ jb >unexpected
mov_cl, 05 cmp_eax, variable_ je >variable cmp_eax, int_array je >variable cmp_eax, char_array je >variable
mov_cl, 85
:variable push_eax mov_eax,[ebx+] value call >emit_lea
call >next pop_ecx
mov_eax, %4 cmp_ecx, variable_ je >may_index cmp_ecx, local_int je >may_index
mov_eax, %5 cmp_ecx, local_chars je >may_index
mov_eax, %6 cmp_ecx, local_ints je >may_index
mov_eax, %2 cmp_ecx, int_array je >may_index
mov_eax, %1
:may_index cmp_[], token '++' je >increment
cmp_[], token '[' jne >return
call >load test_eax,eax mov_edx, @no_pointer je >fail
push_eax call >next
call >emit 01 50
push_edi call >expression call >load_int
call >expect ']'
pop_ecx call >pop_left
pop_eax cmp_eax, %1 je >char_element
call >emit 05 C1E10201C8
mov_eax, %4 ret
:char_element call >emit 02 01C8
mov_eax, %7 ret

:increment mov_edx, @no_variable cmp_eax, %4 jne >fail       # a number in a variable, which keeps its old value in eax
call >load push_[edi-4] mov_cl,[edi-5] push_ecx
call >next
call >emit 07 50050100000089
pop_eax stosb pop_eax stosd
call >emit 01 58
xor_eax,eax ret

:parenthesis call >next cmp_[], token int_ je >cast
call >expression push_eax call >expect ')'
pop_eax ret
:cast call >next call >expect ')'
call >unary call >load xor_eax,eax ret
:minus call >next call >unary call >load_int
call >emit 02 F7D8 ret
:complement call >next call >unary call >load_int
call >emit 02 F7D0 ret
:not call >next call >unary call >load_int
call >emit 08 85C00F94C00FB6C0 ret

:number_operand mov_eax,[] number
:any_number mov_cl, 05 call >emit_lea call >next
xor_eax,eax ret
:constant_operand mov_eax,[ebx+] value jmp >any_number

:string_operand call >emit 05 E900000000
push_edi push_esi mov_esi,[] name
:string_byte cmpb_[esi], 22 je >string_done
call >character stosb jmp >string_byte
:string_done pop_esi
xor_eax,eax stosb
pop_ecx call >land
mov_eax,ecx sub_eax, %3899392 mov_cl, 05 call >emit_lea     # from its place here to that in the program
call >next mov_eax, %1 ret

:call_operand push_ebx call >next call >expect '('
push_0
cmp_[], token ')' je >call_end
:argument call >expression call >load
call >emit 01 50
pop_eax inc_eax push_eax
cmp_[], token ',' jne >call_end
call >next jmp >argument
:call_end call >expect ')'
pop_eax pop_ebx
mov_edx, @arguments cmp_eax,[ebx+] parameters jne >fail
cmp_ebx,[] syscall je >call_syscall
push_eax call >emit_call pop_eax
shl_eax, 02 je >return
call >emit 02 81C4 stosd
xor_eax,eax ret
:call_syscall call >emit 06 5A595B58CD80
xor_eax,eax ret

# Statements
:statement call >deeper call >any_statement jmp >shallower
:any_statement mov_eax,[] token
cmp_eax, '{' je >inner_block
cmp_eax, ';' je >next
cmp_eax, if_ je >if_statement
cmp_eax, while_ je >while_statement
cmp_eax, for_ je >for_statement
cmp_eax, return_ je >return_statement
call >expression call >expect ';' ret

:inner_block push_[] scope push_[] names_end
mov_eax,[] names_end mov_[],eax scope
call >next call >block
pop_[] names_end pop_[] scope jmp >next                     # the block's names end before the next item is read

:block mov_eax,[] token                                     # up to the closing brace
cmp_eax, '}' je >return
mov_ecx, local_int cmp_eax, int_ je >local
cmp_eax, char_ je >char_local
call >statement jmp >block
:char_local mov_ecx, local_chars
:local call >variable_name
inc_[] slots mov_eax,[] slots neg_eax shl_eax, 02 mov_[ebx+],eax value
cmp_[], token '=' jne >local_end
push_eax call >next call >expression call >load
call >emit 02 8985
pop_eax stosd
:local_end call >expect ';' jmp >block

:variable_name push_ecx call >next pop_eax                   # after int or char: an integer or a pointer
cmp_[], token '*' jne >not_pointer
cmp_eax, local_chars je >is_pointer
mov_eax, local_ints
:is_pointer push_eax call >next pop_eax jmp >new_name
:not_pointer cmp_eax, local_chars jne >new_name
jmp >unexpected

:if_statement call >next call >condition push_edi
call >statement cmp_[], token else_ je >else_part
pop_ecx jmp >land
:else_part call >emit 05 E900000000
pop_ecx call >land push_edi
call >next call >statement
pop_ecx jmp >land

:while_statement mov_[], lea %0 push_edi
call >next call >condition
push_edi call >statement
call >emit 05 E900000000
pop_ecx pop_eax
sub_eax,edi mov_[edi-4],eax jmp >land

:for_statement call >next call >expect '('
cmp_[], token ';' je >for_start
call >expression
:for_start call >expect ';'
mov_[], lea %0 push_edi
call >expression call >load call >expect ';'
call >emit 08 85C00F8400000000
push_edi
call >emit 05 E900000000                                    # over the step to the body
push_edi call >expression call >expect ')'
call >emit 05 E900000000                                    # from the step to the condition
mov_eax,[esp+8] sub_eax,edi mov_[edi-4],eax
mov_ecx,[esp] call >land
call >statement
call >emit 05 E900000000                                    # from the body to the step
pop_eax sub_eax,edi mov_[edi-4],eax
pop_ecx pop_edx jmp >land

:return_statement call >next call >expression call >load
call >expect ';'
call >emit 02 C9C3 ret

# Declarations
:enum_item call >next call >expect '{' push_0
:enum_more mov_eax, constant_ call >new_name
cmp_[], token '=' jne >enum_value
pop_eax push_ebx
call >next call >constant
pop_ebx push_eax
:enum_value pop_eax mov_[ebx+],eax value inc_eax
cmp_[], token ',' jne >enum_end
push_eax call >next jmp >enum_more
:enum_end call >expect '}' call >expect ';' jmp >items

:constant mov_eax,[] number cmp_[], token number_ je >constant_end
cmp_[], token constant_ jne >unexpected
mov_ebx,[] symbol mov_eax,[ebx+] value
:constant_end push_eax call >next pop_eax ret

:int_item call >next
mov_ebx,[] symbol cmp_[], token function_ je >known_function
mov_eax, variable_ call >new_name
mov_eax,[] bss mov_[ebx+],eax value
cmp_[], token '(' je >new_function
mov_eax, %4 cmp_[], token '[' jne >reserve
mov_[ebx+], kind int_array call >array_size shl_eax, 02
:reserve add_eax, %3 and_eax, %-4 add_[],eax bss
cmp_[], bss %1073741824 jae >too_large
call >expect ';' jmp >items
:char_item call >next mov_eax, char_array call >new_name
mov_eax,[] bss mov_[ebx+],eax value
call >array_size jmp >reserve

:array_size call >expect '[' call >constant
mov_edx, @bad_size dec_eax cmp_eax, %16777216 jae >fail
inc_eax push_eax call >expect ']' pop_eax ret

:new_function mov_[ebx+], kind function_ mov_[ebx+], value %0
push_ebx jmp >parameter_list
:known_function push_ebx call >next
:parameter_list call >expect '('
mov_eax,[] names_end mov_[],eax scope                       # the parameters are local
push_0
cmp_[], token ')' je >parameters_end
:parameter mov_ecx, local_int cmp_[], token int_ je >parameter_name
mov_ecx, local_chars cmp_[], token char_ jne >unexpected
:parameter_name call >variable_name
pop_eax inc_eax push_eax
cmp_[], token ',' jne >parameters_end
call >next jmp >parameter
:parameters_end call >expect ')'
pop_eax pop_ebx push_ebx
mov_edx, @twice
cmp_[ebx+], declared %0 je >first
cmp_eax,[ebx+] parameters jne >fail
:first mov_[ebx+],eax parameters mov_[ebx+], declared %1
mov_edx, @too_many cmp_eax, %8 ja >fail
shl_eax, 02 mov_ecx,eax mov_edx,[] scope                    # the last one is 8 bytes from ebp
:place test_ecx,ecx je >placed
lea_eax,[ecx+4] mov_[edx+],eax value
add_edx, %32 sub_ecx, %4 jmp >place
:placed cmp_[], token ';' je >function_end                  # a prototype
cmp_[], token '{' jne >unexpected
mov_edx, @twice cmp_[ebx+], value %0 jne >fail
call >emit 05 E900000000
push_edi
mov_[ebx+],edi value mov_ecx,[ebx+] calls                   # calls from before this definition
:fill test_ecx,ecx je >filled
mov_edx,[ecx-4] call >land
mov_ecx,edx jmp >fill
:filled call >emit 09 5589E581EC00000000
push_edi mov_[], slots %0
call >next call >block
call >emit 02 C9C3
pop_ecx mov_eax,[] slots shl_eax, 02 mov_[ecx-4],eax
pop_ecx call >land
:function_end mov_eax,[] scope mov_[],eax names_end         # the parameters' names end before the next item is read
mov_eax,[] globals mov_[],eax scope
pop_ebx call >next jmp >items

# Operators: sign, level, number of bytes, code for the operands in eax and ecx; && and || have no such code.
:operators
"||" 0000 01 00 85 000000000000000000
"&&" 0000 02 00 84 000000000000000000
"|" 000000 03 02 09C8 0000000000000000
"^" 000000 04 02 31C8 0000000000000000
"&" 000000 05 02 21C8 0000000000000000
"==" 0000 06 08 39C80F94C00FB6C0 0000
"!=" 0000 06 08 39C80F95C00FB6C0 0000
"<" 000000 07 08 39C80F9CC00FB6C0 0000
">" 000000 07 08 39C80F9FC00FB6C0 0000
"<=" 0000 07 08 39C80F9EC00FB6C0 0000
">=" 0000 07 08 39C80F9DC00FB6C0 0000
"<<" 0000 08 02 D3E0 0000000000000000
">>" 0000 08 02 D3F8 0000000000000000
"+" 000000 09 02 01C8 0000000000000000
"-" 000000 09 02 29C8 0000000000000000
"*" 000000 0A 03 0FAFC1 00000000000000
"/" 000000 0A 03 99F7F9 00000000000000
"%" 000000 0A 05 99F7F989D0 0000000000
%0
:pairs "==!=<=>=&&||<<>>++--"

# Keywords with their length and kind; 23 is one of C that mc does not know.
:keywords
03 10 "int" 04 11 "char" 04 12 "enum" 02 13 "if" 04 14 "else" 05 15 "while" 06 16 "return" 03 18 "for"
02 17 "do" 06 17 "switch" 04 17 "case" 07 17 "default" 05 17 "break" 08 17 "continue" 04 17 "goto"
04 17 "void" 06 17 "struct" 05 17 "union" 06 17 "sizeof" 07 17 "typedef" 05 17 "const" 06 17 "static" 06 17 "extern"
04 17 "auto" 06 17 "double" 05 17 "float" 04 17 "long" 08 17 "register" 05 17 "short" 06 17 "signed"
08 17 "unsigned" 08 17 "volatile" 07 0B "syscall" 00

# Texts
:own_name "mc" 00  :main "main"  :mark ":" 00  :colon ": " 00  :newline 0A00
:usage "usage: mc SOURCE OUTPUT" 00
:cannot_read "missing or too large" 00
:cannot_write "cannot write the output" 00
:unexpected_message "unexpected item" 00
:undeclared "the name is not declared" 00
:twice "the name is declared twice" 00
:bad_number "bad number" 00
:bad_character_message "bad character or text" 00
:bad_size "bad array size" 00
:pointer "expected an integer" 00
:no_pointer "expected an array or pointer" 00
:no_variable "expected a variable" 00
:arguments "wrong number of arguments" 00
:too_many "too many parameters" 00
:too_deep "nested too deeply" 00
:too_large_message "too large" 00
:undefined "a function is not defined" 00
:no_main "no function main with two parameters" 00
:end
