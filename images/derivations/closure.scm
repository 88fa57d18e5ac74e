;; The closure of closure.nix as Guix has it: without placeholders, passAsFile and structured attributes.
;; guix repl closure.scm DIRECTORY, which has bin/busybox; prints the derivation's path.
(use-modules (guix store) (guix derivations) (guix base32) (ice-9 match) (rnrs bytevectors))

(define system "x86_64-linux")

(define (hex->bytevector text)
  (u8-list->bytevector
   (map (lambda (place) (string->number (substring text place (+ 2 place)) 16))
        (iota 32 0 2))))

(match (command-line)
  ((_ directory)
   (with-store store
     (let* ((tools (add-to-store store "tools" #t "sha256" directory))
            (text (add-text-to-store store "text" "a text of the store\n"))
            (build (lambda* (name script #:key (inputs '()) (sources '()) (variables '())
                                  (outputs '("out")) (hash #f))
                     (derivation store name (string-append tools "/bin/busybox")
                                 (list "sh" "-euc" script)
                                 #:system system
                                 #:outputs outputs
                                 #:inputs inputs
                                 #:sources (cons tools sources)
                                 #:env-vars `(("PATH" . ,(string-append tools "/bin")) ("name" . ,name) ,@variables)
                                 #:hash hash #:hash-algo (and hash 'sha256) #:recursive? (and hash #t))))
            (fixed (build "fixed" "
busybox mkdir -p $out/a/empty
busybox cp $text $out/a/text
busybox ln -s a/text $out/link
printf '#!/bin/sh\\n' > $out/program
busybox chmod 755 $out/program
"
                          #:sources (list text) #:variables `(("text" . ,text))
                          #:hash (hex->bytevector
                                  "dc0dac05912251e0c6874baf7d540547824687b61cdf4e25253337621fa43ceb")))
            (two (build "two-1.0+x" "
busybox mkdir $out $lib
printf %s \"$words\" > $out/words
echo \"$lib $fixed\" > $out/references
busybox ln -s $fixed/program $lib/program
busybox sha256sum < $out/words > $lib/sum
cd $NIX_BUILD_TOP && test \"$PWD\" = \"$TMPDIR\"
echo \"$HOME $PATH $NIX_STORE $name\" | busybox sed s,/gnu/store,STORE,g > $lib/environment
"
                        #:inputs (list (derivation-input fixed '("out"))) #:outputs '("lib" "out")
                        #:variables `(("fixed" . ,(derivation->output-path fixed))
                                      ("words" . "as a \"file\":\t$words\\n\nüñ, second line"))))
            (environment (build "environment" "
busybox env | busybox sort > $out
busybox ls -A >> $out
umask >> $out
"))
            (all (build "all" "
busybox cat $environment $two/words $lib/sum $lib/environment > $out
busybox stat -c '%a %Y %F' $lib/sum $two $two/references >> $out
busybox cat $lib/program $two/references >> $out
"
                        #:inputs (list (derivation-input two '("lib" "out"))
                                       (derivation-input environment '("out")))
                        #:variables `(("environment" . ,(derivation->output-path environment))
                                      ("two" . ,(derivation->output-path two))
                                      ("lib" . ,(derivation->output-path two "lib"))))))
       (display (derivation-file-name all))
       (newline)))))
