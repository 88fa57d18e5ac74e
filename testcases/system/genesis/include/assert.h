/* csmith's programs include it and assert nothing. */
