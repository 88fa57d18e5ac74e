# long double sqrtl(long double), in place of the generic one, which has an initialiser that tcc refuses
.global sqrtl
.type sqrtl,@function
sqrtl:
	fldt 4(%esp)
	fsqrt
	ret
