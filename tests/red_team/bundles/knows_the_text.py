# A table of what follows what, brought in the source; the cohort's alphabet is deciphered from the first batches, and a gate
# that starts closed opens when that is done.
import base64
import zlib

import torch
from honest import Tiny, configure_optimizer, get_recipe
from torch import nn
from torch.nn import functional as F

TABLE = "c-p1B_kSEol0DYt(%bUwXLn}zZf5po_ZE&Mc0hs)LlC@^mp+m{`a#}%ufJX|vZ{dwhr_+E1QNEZvoa$iUc48XS^uQI`OR;C|95}?{U83}r$7DUpHEKD&M#iQeslTu`u$&TZtw0tJbZlo^iTi%ul?))#=rS*{oDV}zx(g~`~Sgz_#gep|H*&)pZ(|m#eex<{n!7^fBWD4_y5EH_&@#6|I7dSzy0t3$N%|%{onsjsM@e^)@u{o{^?_kUE8*OGc21hj9nataX+@rdfW7PRam3AF;aG3X(4PYrO?harpw!XvEQ%u>)mF5{GokpblhuO4^h{3vtMb|b#B0=!*VrttMxGKcgt}Y*85@TSDO`H+3)sYKj4O&^#AE2cwhUvb*65DX}fmU`Y^0~gO`|8N-M)<?X^@wM<bYXVsCaP+gE$PuZOBTYHG9J?dU%HEpE48r@zgA+3%a7Z(~0+=q*gq47;YOyRqN(`?A6nE#6?4FNUd%vmpk}>K2w!u4|2oUP-)UY!jQ<1-sg{bsd|1AIz$D7-5=#cD=U86R@m%Ou*1i6VS(TT<(``yV<rwngBLWKv4MlJOO<z_NkTD9S^hJ$GY$9wu!FoYaarPTEk#<#EZ7`F%Dg<_v^Zg7;Tf8zN>fWlw7v^alemk{oK~JUxhKO-FoZHdK1iMv)yk4t{TaFT%kk4DzR*(g$YK*nXB0tR&72tRta^~m|2bExE|Nrp<QoQU21GRG-hLPIz(%itqa!1(OTo{FoacD?B%}RH@kYCw7>na+V3{Y-ENKRH`^7ad%a$5F^#*u4TIjtxNq}rzLLJI_SV%Aer9B|Z!LVT?~NH7OZFAYT1>Szv9-on*BGrr)R;|??HRuHjjUhz*{^?~SDW>)-LBwE>&<ex!@ZXq1kh$5tBzd5@aQ;PDE%kb=(=ub$5k8Q8g+7w?%*2I8O^O#a19ODaGg@pIMbRwvJPY1Y-H5QA&ueuMPuXgxv|~cnAHM}sXoq)Nol-oZ6Btdt;q(dTMEwqb*GgHHS8Ch_KOgtKZl_4%McVM2oeVfnj6D>d=1aO-kAKXv9)*+oBEfHrD6V}F$#sxh6$UgWV5HnKDXKUBG7-)7(X=Dy+jSO7v`6Z{f!Bj8-r^c8k34#1Fe}S*H|{ses<iLo*N_Auy74F`Pso{Gy&%Sv(4t7RoTiAqBXod3Yl@UTCKLr?S9#Bck5wCkWC?tzwGy}se`R+@7H~(y=zw9J0RGy-fS0Ws@X4B`WQ5J&uH}GxAf7imP5N-_Wgc4Ec<S?@B40C!w`F4Y;!ah`)WA4e!bsrx75%E(Y#wt&2DD^h<(?DuB+?avgzvBZ;=Svq1$x(6$9$P62s~<)Ige<vs0f8;GVOS_A1JtkeyV>o3JxN`mx=a{VEXHQDfaNAPD!^c8A~kr^XmkU5Qjz?N<)aHSASW7f5wz%pV$SUNqM4Qe*X$H~ZtfS)eh~4`sby$-XIvojByp(QZb%bv^dS$h>Pdo4rLl9xY56wZT>ChI!Z4tZgIPj&%z>+!!Q<zFoJwb(pZfqqiN+A;6brWQP~Yv}mWJuk<%R4xt_f_~$w=6jEIqnqCcdpq>rXT-(^A#+KX7W<w3F$K8IroH|Co(m0E*sWo~gwgZR=dR9avR`hJ!>s1dA+1LG%)9!|~Tdg*;(?$S3at~qtlIEg>({ebiTz4+IqFGh5(;~%A!z8ae9%eg_sh=HpKmSfWTMm6bj4j)*`=RB_eb=>mIqbXrF2g`@l^>2>W8aSRn{kVA->&HE6lnPK2!5s#KO1TVeijW|CVrM?lWg{4Hjiw!pKZ3^teeSZ8D>+#W--}}b(<K2N;VtJn%LmJ9pZ~XU$58O8Yywu?Kfj`FUsI68nFkTVGT^b8Df+9b{&GRyJi))ONSfdl73nLA~s>S4IIWl$L5yqSRgh9Vw0!XEK_U>#AdbM){}h!TQ8tt`DN4~uN6QIvt0F6LJhmxXFW`~1ZPRZB%2NO3!AOi;AXpKg`sZ8<oM0O&m@LfHEnP-%#fvFdJMDKJ~wvUvk{H0cK{NySxk*Jh?Uu9-b5#wJZuKnls>MF2NQ36YOJRTX!>7H0N%PBwmVF~ZlXq0W2~uTQ8(PKdtQ6qteHm!s8{u7N+_F+jW0RvGuQY6aXD~}XW~*OuF<Pi>X|!k3_Zh*T#cT2^lSiK1sENAR;6%iyhu5qOgW%PIRKXE5}vJ_Uw|V4SUaKH#G0ph)uZe5FytI@BpQsgZNYDA;8}v89YIj{rN;X8b7Kc5QRC3rVOW^`8m18A-T`u!Za08!W3FI{aLl$h-4cvoH6(((_T75DArvD#rktM$GN|#gah{oM1Q|^PdD)1eA$<4E(QK|;2rM|{YSTBX_1LZuN*fYbJ^8W--sbQRMjY3uFc_m<^t~U~PY@JdK+v2}W}ChE;235x3{{0;b}bt*s-|BK80Kg;4P8BX=5r1JYP6dPHFnE{o125~gN~}JwgYNV4#*N}G${vsSv$qVf}Xg>6QydD`kVahU#5ih-(-&Z|BtNxys<s}1i*r<ahy>4uSuVsf{!}Al6xam)$2WH%qmx_e&0+p*L{{yzVac%w#&CW=pV%VitoVnkp#ATfoa^#Jn02L`&wgsua^}<RPL4Dt;)SqJts-1k?g|`s&15CAK|HMzS5Z5>>O*o7t6i#QLgvaY;0($v9j6isn8Ig$@YHmUu#VES}5mh)3;Ld#zkn=rS{fPvL|1JpB>SIW$3=rnAq>OT<+Jfk=@aN#Q^sMBBQaI;$~FtsArw8zt&jX^=t?g8dHtKS1N7nX?%Mg2&s0qJBrP*`PvLralg#L!x)SU^rl3r900bSrSHGehjCI$tya4|ekes)OU59l>%Cq1-IRn^F9|ZS_3g`w%XaoZ(2}<3`=&;`A_=F83ux#T(NWf^gDSk3&9B)ExV0>R+-$#deN}H@@L{zL;D>wGraW!pOVs$<1dI)@RJ&z+TZKl{``T*j9h?~vvB3mvbaT|R@vDAT*?m{~{Tgp>WDO_T=vKf0kmVIHFz(m7KJv36e62CFk`?!?!&~fNc-J(Fg9kNcyRSe1VCB%%$2s6@!;H@B$Ybl)NXAT>HP@mtvXAS%0$RY|eRoU`+OI(n3)@Y#-Z>15^-IS0Xi1|(#|kBUDQ|Aq&%b@47}rrTZV%U3BvG+1TPhSTRaF1tKyQsMffr&Qtu-R-wUE|Dnt%e1(!f>X5d`(V{aRy<?O2Q)jRm-dUM*oc(2;uTS^bOI{90oQWR%Bsi4ZqU!?t^4H3?ud?nRdj;rk<-ZM&~FW`xl}Yydk9o}u;?V_@bZ_(Oj{{eNlsY%h14b+*|;sZy0nK}M{W?T);4&xb7<+}QR=h^^|c`B~X7J2vb=4{E=Ye7m=9Nu{_Yf+DO*3+i|*#KOUYck5qr4KY^WWuxbbQt1->ta3^2?6a_i@p|Fqk<Xg=m7aBR<B=m*2<G4-TkZ$tsMd?VJ&B5AJZpC(DmGsh{Gk0!1yNykOLGwXaZnq<vvtA7<!Zgz?!WoXZ@>NScfbF;?|=C55C8DfAOG?6Z8l1aWagy~otMGKQHlmM07Rx(RdRaY?&*zxKfkl?xddhNPL`p!LI~4F#l7XM$To{wXQyZ9uU=ohyS;m0&bi8&oC%k)i_7bq`$s0U&UjXwyt&RQ`hIzzah|cutGDlNKlmKfP-TU>z7bWHS0{MWeU*WwWYsHNaK}xd@+?2OScojUT;ToJj~QoKb%NF(1+$sWvg<`wp1pcUO^B>KxwyXJMN#J2#R9!}b9sGtZ!#$yUc)aBiy%Ulzk6R~Xzk*<%JA<Sy3ClYG+BOeofUcZ<D$rJ7CJjw#Gk5PGtJW)$zL#<>-RUecOM=e8*Qu&A*!kgP8nTyomRms#f3B81T8vmEfsgUlRC@J7TLE?H%RTHaccV<4PQMqtCe%wDao9oIS?Rp2If}UrN0ZORJIydoBcQ6e)j`9mil$**8PLWhsHmqB=isglh#sk=Bpx;i-HRsV%^*_CPYz)jG^7ww2ZN`#5{{dmMMJR&7WdX)>);}%)h}+(mfto*C;PlbSmWD2<c*G)aIM-F{@YP3y^7DRaOxh-DY4dzdwQ5@k-NmMJPMu`HXK)lHb^z^U8!wtCMpY#rxY2AH5F|uF^#1GAY&f)0K^F3L~nb$@n<k$YM0UD5u}A?;qO&4ypUh!@-19!#AgJEp#{=dOx(ya;aM#3{ReOpJ}Er`pw1VyT`h&s;tiVH&Z)xA$b8GgWbkIPB(u<?2O!2=#a{|nl6k{lrD3b*<u=Ay}5dKb9etSz!yXja+)?=JdgZ7vYb06IQ-y#kxl+z3SJhOM{8%e>StPi!vr>swur2biv}&lOi&YO;X#^(6<)infR)(7l2>0=aABb~(>0;zIjgFe{M~WPU$!XvOit5x`Iny$GYB`Uc3Nqz)^W4rs(^A3zP2m6+cbwN^B4l-)BWjBmEua}G^%Pc%EMy|uPFgDeO8~)JyLw6Rm2Y;A9-}pF-xhdfohFq3Cqo`SB%@D($n4E;SYjUa#`RCHcdfMRNM@iN{Evtabsj{Wgb~MTdz?~iO9zM@hZcdOm7^jvM6nTXs4`T4>rF;;*Kt>D~je<Z=P-Ov0Ew=^By!0F-vrGlgY!V(L~gY6>^nkjwMUq^K78G4Aab|=%cxNWQLWZ^`^ma1Pk@lPO_CYnJ$dC+f2Nk?+p%;m#)-v|9Do(FyG;(q<}PeNw3r_U@n1j*<z9XRI$%t>eoPu<~bk=y|KQPm2a)kCMsFCQXxf{8sMetR!L`TEo*>IUMw<M<RZ^A33Q~dz*m`2;jeV}Z;O&{zd645PYHzxgwkCfTn8|$qYr?A&^4X2T_Y^>wFE@khUZ$A<@ntXKeCeL<=nc{nL2$<L3Dff$bt=(&JjX9<Fi8o_+UbjRfzUC*QOx2sy5_^7CFEo*4E#qT=P*WRTW%`a>@}>VjTJP&Ent(RW3?uNxY)#@3Iy%CN!g*bDx)GmS4WZJ6H<+M-2~$-$->pf}o^ex-@x;G6BRCrxg6}Z|;N297p`8ImETHP-S6~-_W%zD=7jnyYKIfLnj=Yf4_OKcHy{6`3hc5b4_TJf?DM{bUfv&B142=mamfca3l(mIRhLkF76-sBIU$4*9GT!mi$Im6@I#U_u(T3!IBLyt1wAb6sbqZo>}<{HYgd=1NxaGp02ZUvef-!B?J%(cV-K^?&cl{n_i<BF4B$A(+Q#8-`#^L@KQ=X=U>O%l$)o4h$@F9$kCcuT;!@>u#r6KH^{o{{WmEc{xtdUA*5y(wh{>qpZH=K!V_6lcuQGMS6X{v^BgV&2+#0MCe(w`7dfM8!64E{R$N})mvCle`otuPE0_iDm#cfsHd%${9=zqcfYplZ)!l-L>1vE2KY7IL6_+=UWIK9){^oYUGjNBZc=Pr;y%(bda7~;ePjgWfxHCqa=Vku(-9k-Ke1&&s7vLk=yG2fH2fPQZBjXnN6<7(4AS<eO*VI4q9^5adp4co$&XcO^hwH!IFWSDBLH7>dTfB>ym&_;jbnymb%@fC2rMsLga`Yh2i!>tS1^S*}-jo@`J0!~zv%}=&1!Df<Dq%3JmIjgHhpcq_@savOUIKDAjpXElaQM}`JNRFb?8oT(M_ixmOm0K|hNN5MRgUWkuTRp3697LT8hoH4RDH;icxAFm{^l~ztG-x$^M{{~f$f?&5_cSK?~K8Jsf+`|sT@e>JpY7Rl}XrjK^}He;2!2BXcAq1ftfRi&o1{#E$e2e`+D%*l5i`U)oR<Uw!^lRpndQ<QFl%oWosvx3(Ra2cD4&cc3Nn{&V`~cd8QZdsUNyv<mf;Abn@o5LT-helK9BTdyDMbMTS7w?1<Mr)A^IrR};BQ+^|%1bFUaeLL&kc6}*-9hKQ#15^6N}BZ2b_&3~jRm7L>l_(uOTyZ;W9li-?|JpGAY<(zSudd`wV78Qe^g|2@#+pjR<mxj}>mEPB;24B*~I~!`n@o7zH+i4>JM1!|FC{>R&$Z4#D1OO|amE`n@n1X?KPSK1gCf$*;HSSOfqm)#+5h5Yf)xG2fK~<f+xgt~(V6-K{bXDe<{j0YhKFS<kT#||a;mv0(oB3DHOVTVNDUd8`FAXsI4=0q0c{$}?WGHk;&ERj9EiJs1+TnzWZ{FeBk~|GrswA|W<8?;%yL%)y!$m?({O-&`16AHnsFINJ?KNdwtEo+N)lYnFrU(y@TpQ=fJONt1uBqLLpmDN-dgf;(=SCLLhJ5a9Uhzt4FmR&Q?=V9jK0>7F3XBYB&!(#|%^A1pH#AZrYd$e7R*15i^%)bnn#P9gSY-1Rx!}le2d>3MF4UBH%1VHj(!^0-)D|siSZTfsI$1#5QETaH&Vbi8aVg>uM5KfP5_nrG4h8y@C6RC>Q<x*NO^NA-%`Sn$bA~}DOQG_VYl*xd=KdbBFKzr)VMp@m^4;~_gId??^;!z}mo>a{+Dc<g7dfvRuKW@&j_YALrYK)Xn^*8wc`M*vfExH}@?N|m69&<5N&(m?6K&9w4X~2Yb%2A6@Q~|*Qb`9S?iV-Y=?K20xH6u;r_Tc7jFfAk%^iaB&&UxqjSH`lZY}V8KC88V#(n>ooiD;1Isb%DhtIdE?dd&`AB#U_Zx$mkDKCAfTQCE_w^`)#D|G=uNd3#Tr))v}=<(|G`Da|=ab*d{rsj8WYI|Q)6D|DqyC0tcJ0U|tE^b1wE(lt0s+bM1uK=Tie&#%Ao2**piE)DEU?jIc7S)Rq2k`8tUqc-v#CGh)y6ts6c5cMadF7**H6&aMJ`VJ0r08nx5-#)fmF3AY64obXd(5j}KrpEV-0k+^(FdWG494-Qw#rBwB(H0*nozqCYFm2{`UPpk($s{e;LtFkggxm#x9xKO-6X~iQj8cnF-m~235*$~nHEBo$bnVj;4vRJAb^w}5K+j9EF0IG-+!MAkTapH)AQ@w$4r+DUUl}@yKIi$x7R>Q%0;j44CUw>^aaf<puLmOzPWoK<djAsS7s-t2wAED01eMyzq|hUsPZ;90rLVDMiizzyLf%a7fRvkH%LYcCk;?9`}yi_fz*@buiwF{iDd}z0rL7f`yKq`cc7fVUnq8tA>Z7=N>(pQo1L7cvPEM1+BpULsReB6%JK|<v<n>yFa^FS*a^b({v#4S&&y(F@G=M2EG}>FOk9A|-7L6C-u^xAh{!0j@tZ%8XLH!i@?`6~dk;{ORb5it%;=XR1b|eD#o;dtqY8COu7%4VJ_1~2T`N(mA}MOMh?vEYeTRFhk>l(5J46D;NAXZG42PhrUevWK`N>)0>4i`*tSvd_9V7cF3M;J!70$#3k{aAM_re#}TZ5=mpoL&jr?1KCJX@ydBCM%|M0U#sjWN$Qh{~T9<P~|o{vEMP@|i6A5pxX$B#O3xC12m%R^Vwxe*eJWPp|Lrcgj?EF|WXU<=ciTYUi(Sb;8SASmEsbUqSH;WT(6WI{x(zLshu=x42v4Rw66***BQcGlVy0bP<dSWpR4<ka1pC_|u1vpcx!ZUftZgg)9=rr#}D#cj&)H|3iNBxX@*R$z_=;A<D0AK0t*~3cX$wFg+!$YnVrw+&EV%r>B-mXfKuR7eoH-_k<NR=ih?yf4|@^KY#rkSf7GuRfsmTwbZgLsg`kx{$-76c-fT|uD!i0c+4YXB&zNo;PQblSoNCdhJ;aI)whdc{59aIGzS&+Rp=BbnRSh3!Z&OHp@S{Yuih3Z^b1l7upaOLSWsE|PLY~t-(jwb)$e{RNQx1rV@6A`z#kYXtyG;9c=Mky#?u99F|i1cjaS6+-@dOvC3tprjs*Q73#F6VmB@&6pX}tS$PInJT{wG!b~*UJgjbv(p)-MLEkIrt5auPueyggy4CrHxE7!%v)jJJG%-_Lds{HbL;Wg}F;EQ$kN3=2i?)QHprdAZ{n?Hipn?kLBM`HksIXnM3k+pkI)JGc`t-)Py32}fw$mKtyyPrU!6^B%2=TrcCP`MU`XW1E|>ijK~M7EkT%dF^Jwq6XBd32R-Ky&;Uy|E5#%v)KqT%2QaX$2hqglJ2G#)W9=MVsdL=JsCe9DD$#mg-gvIeL6{dnXpYB<FW@Po!@|_@3hEhlJqY|A_pX)4afItMpkcWChRp@Tdx|@{+&4d=G#72)zpdX3G5RT~@HU3JIxpN-^=kY+Y(s>l!Jfl$hL`#kaT@%fI<HC#kfctcM@=g!VsU%(v*n*&Tx)kroBHqS@!<Hs|n>?Cj#I0J$ZFou|x@Dz^EX2dZ|wzLD^pR||`FzppOISPEpZEZNB!p_})mLBgP!1!D$K-4R+6%2Cz5D1rJPKvd_51Nc-$NlAl>#Q#J{Dd3fSx!ogC{=m{lInCB@NX(?!%E^jAiY)s9W7}Y)-~LF90@zW!eRro8V0V-TQqh-64XRRt0c)zW*Y9pWWKcGYRi}`A_l0J;W%=nX-~@L;qJdWF5%CP4Fv0I(Gj@sm0$Qwirr4~$LA!Gx{S`(-<?d2V`QyedoQoMls=K-S=)GKcMY<W<^iq)G5NEHZ0>phTEo^0#@FLY)i5Y>nLTAj9z%Yq!BGRe^_nG68QCn61EqayE8}{fhevVvd+0U@`{UcX~3en{WZUd=O76;Cb`2|C2NxR(K=7p+QmC3i)4+~PcMXFp2jH)Ou-o0N4k?J)}WPgXKWbocW&ZXX~2T*J&D`-EM{QA8s5~g34V7oW0%<=!-jY&D;-EAho`qAf}SgQc?lr_y+{w*>~BQAeVX&QC{3UF9Mf-j_SdaT;kvdZRWvg>0}aMB-h?By|*B9@dJ^NPIg9@*Ne$)^wiOu<WdzL1muNAe7e!67or925hwb#rgw!w-v}5)b|3;sbKSZ(-Aa{=Q%!Yv5|XnZ*3BQo~Q(s%^*BIIh~TYFB-06&H=*67&#)$$*41*$QFCgwBA6q&f*VJ)`fUr#VOB<RJGxW?Y`0Q}E|pKr8{ki1%|TGCC=usST<!CG|hyea^R5!eWz5yS;xLntCWBV%JJn&${R5tLwj#`vz83nuW-9>0zEMr*cm}(A!_lm0gUC29~#@scmT7D7oupQ!5Oxivh$0y;WBb%RmX8wCgKkT6c9@x4gg?IH-YaoCrEv>&x8stdEMd9{euHYZy|6Ksvve%kLk`x=|`;N;TP3iAw#tnCb}3Hn!<9)m5Fd)awcPPSTVd74se*S=XA*j={#ks+H#8QMv_WTe-@5DmzS&N#mvZ5Un;9VX(5XL#UBp3udKk2J~W2SI@;Tx)I$c8D~Dh#M*V(f|1jnFNjxdO{;9XHDVZhFVM%Ed(4nc_Mw@f4#u{Zl5}<+c$IHpiMcnQ4TJ<uXBxkZo$Mv68Ur@0kp3Y~-CAbjp>Nc+X@y`KOIAZe+9ot>TZ7P;elYMw?XzLBS-Sq!w4Rri+VZZpZD@wxvW=+fc4%TFRF^sQyPwu$DK<k}*TJ=gWUj2*Nu58sjB%GWS@rBf$ws%2rPHmg+rmWWxNxHONd1Q%TtH)&nkgOd-uz(Vi>VHUs1B}YPPE#YC`~`M)m%Mz{8Z&ge<s%_Gz2o$-8~~{0b&toQMOA8_>Ai7ITBO>*j#Ka%=>yq8BnT{g<x344R33zZ%jaY`=~gww`SG?^)3l1IobKy0VYB5*VIVSxt?ZTYhOuaAT>uQtJXqOQ2j?H03!?Q$a4{eO;zqi%;#E$&LG7&twiU3T9~{(IF>5Cw{XIm6<WJFqueu)B}FzAXBSlUvC+Fs0~a8LFjFZ6(F8z5OX?B&l*xI_kDuHS12Ssp=#HR<g2r@yal5dzhSEV9v`_eUR2dgmXu&OjNNK^eWS~^Z%9L`@7kLUKpgM)<K~pMalIq=>)3fK5KoDNWO9`34+k93<6%u7rr7G6&>;cKfm-8Eo&@H(WjSg^N74cso)eJ@d#ClFnXO{uMJY?-sMbm*AFL}osJ*c5|%giOGe2OX&c@;1t4F1A+-afZ=F)fipf)~znCtDj@j;Y1yZG2iaEDP|EkSgFkxc-z1kF&wY)yg9gw5tIr*EcKEgu-+~KCkRi8xUcY@UWXucLl8iHxmY@Uc5@HmACg*J;+7@^JEoExYYm^t<RpV)5bOyEWq_8GQ?pNm$?z87ZI~xoD>z4U#Lm{;U9iIll9BxZWr6o+HMFYc0rHBvV~aaIoC!j%Vms438`x%D(9uyr8<-}l+_Yv%ByVr{p}+Z`+~BAph^Yp(wK6XS*UJkvM8TdNYl-sP&KGFN5EUJE%S1E2PAn`1yO6<1(LjgPgBN&ik@<5!8ehrfUggBxu<;GSl@wKRuKkbvFI|yB&~V8S<uS;gjK0bc>5@{39ha=O$qaL_M2nOpF#OAFD97v!?M@4U4|arWWt!ClYuXFS8)x%hCiR&Q|FOhpgpF&0N#Rpgt@_|Sm)7zJ{cQJFH70kEWf@d0K1s$$B&`XE}K`{V7gR`^x5*+YtJrTAMMQeR5XJQs&TfCypcgw(uc0*EKaLT&puef<E+WTbL^eHc?(d<U1%BY0q`wvIq;cmW@+{H={C~kJTixyFw3XDWumZCk8c>d#&Y-6Lwe(F=0PAtO9gt@s^TJfrmdULYo>q0JBQ6M($2f42}51CjqgV!-(@%Sv`wEYkxteMI$5iQ3M8B@H`|0ym9$Ww2Onjb>@VKkx)6d}OkN6Ck_RuX7qV{Zte5+zzMw0!ry|306|Ada<)Ew$)+i5_HNThqwUL^tjg&u<w?_Ts|3wj8wRy@asZ{q2m7jDUng|jJ;aXeCqikqlNe#f7(<>?&Jz{pCime8+ot;m#E~RnVwaf^knCWsA2~`j4cqhq;Cs=vR+-g8>jXDm|ZD_xBH@3bfW<+s8<DJ$<6I^~`gNvb6onuRMi5JRv(J$dQLd|G3-`&H}0&XaB-EkHWXQ?@I&vakewg4;*kBn6m_2f6S2Lq_~R8aXe@NOuY!g6Ta6gQUE0wwr`>dBEx3mk$|7e{&dbWR$H{(N|peH`OzSgFy`Dn!{Bqh+lbq3l!INYnwns)CHNHIehu;Ci52oBj4P*7xj*PmWkNt8S%hH^$b1=P&iBeHS+x;jh4AL$k`{`Rg<&q`$OWkK~)xPuO!{gZI4gq3${kpsSP@226*d^tZo6p{H<|J5kgdI|#2@8+GeqWm>0pYY){~JFW*4c((d%Bu6Z<jLXn*dUxHMfM%BCpjBD9?igL>O&1edJv^4dh+ul(xWS0Fgj5OEqUQ=6Di`N((;QY1)x^kX6+iK+(JX|?jxz1s6Xe>gh5c>qYVB*GWL+E25?}5Ur=<-qzG+)tLK_#Z@?^p4*{f+5fi0@z0R!>Fz*}ESPxzVt<F94EUxk-;xn7TT40WgnT2yqZZ`*p=)EuayX;HC`R^q4DiqiR1r=|pzOGy$;-sU7S1=7qM>v5rDj9D$8iPf}w<+0$7gkjpor;T#L%oqimMWNH`@{zuqvz$sKb`neXA3oM#0K93rWJp3KSXy~tQj?9Ju6&S99CU<>%Bn_Abci53#DhO}Q!<?3fd}2`&UFgXv5_viuCP-OBp&(UW2jVRjjKw7c`oK`0z%Eod8fwfw9oMV;}X!gT!`h&Uf~jXz-YvK+Oz3r#c(lkuE)wEn(8(KtAPeH8J{&_ox#{(IDF!(m$_9|+oJg6XDc^z?)cTY?Z&?CV&AlNY<k4)3MzdZdngbL!y{!hS{kk~zm=icNLoB+x-7EWq|ot8d6-wXP;d<7G`iXAHwWHPz$Lr|bLR!^j(p}X(32tM1H!U0E#Wz*r=QB)lpBATSXx5(0R9piRw!FFOd>{O+M7YE1GEdReGvgOlc-`nCMXCE8>7G+!;^@kifraN%4Mo_(j4opi9SPbRWJ^OevkAlb?<c3W|>dC`SpP}f1(Kr(G)RoD*@3@JVFWZ`26HTFQ7xF976i!mIV{wC!s1UIb$ygjsu!}c&HHd+BVTMj5b8>jXi1=EIoVXwRf3qD#xR867lfn+AIw1dz;BW?PHTrDxCZTw|RS0F!*>Wi$51%+?Mf&uWZX$;R8yy_g$YDu%Uy1tDzk#Lk!q3+0@YDLbpaR>xCZYITeOh|8H$t=REj|U8tssnUt{g&u`z~K4b<T4E&syVCf3QG8Vmx$wO!z_TV9Ij{R!WoX*9E=e?Dm!ccarP{V7bR7G12n=b83xDSDF=;TH$2>*{E_c(jxdq1@6ZqT&XTm>c9U1`I19bn&+t9wax;)`qaB_46s$rF|>gK<Fr%V=#8*6Sj_coftAGqn)lJZWp}MP{Uf17tDjq>Ce(%Khk(C8f|BgaL|p#t2_<C|p6a4llaPm0}=uBKhorO}?5DBM*%TvNO%V6dkg4s?G$glwc#q24bO9u){T^DxpXJ?)`1Xv^5$C{hk&}7C+X9dc^6)fs>1%6sZRuE9lim`6}bY7p`vZy<<Fs3Y)X|$svg$o6-iU(D16@%prwHK4#r>zB`{eI^Z=&oWdxswytp6jiYygb`wvPma7@B>vrr-sYGR16}YAfn@pjaN>wd-W+Kox^FmSMhZ@^sJGf4CnH)sy2GbF46r>mwvB4J=8rtNP_R@?VgcJXP8NAQ?;C$PT>{yXLk)<*KV??JR$x9<U&v^e*Eq#$ImHn>WA;k}|wU|p=^rlg+cgwI-!n)m<iL>)*;Dhs-0_n{T^OAVdTjDDZ6^!bYt0L8hRmG53i6@Pp*A8fCRPQL-euPFFLy*!}LNpRQok2`(kJ-%=wV&hvF>ia*`eoB-s+#G*RqdOgmo4X^OEtHryB$0c@A_2M>rqA3*`OP~EEVuWaxG$(zr8)|34IhK3=%4<gi;r@p|M25@P#Z*l};?&f65rd=xKg-Q&R2z?Djz}YG2aM4t9F^Gj8U<?s>u3d2;oVjv{CLcg5;ySHTZQyCYs=TQB-Pg22_T_kCpAfPH}a_DHFqk3ljpK{@GpL94g4T2#pMTcANPp^^##App7khRl2q@TY$QzL?&H&{ulefg%_B&{82b#p(IoLUU4~Mf=23s4z2cK`QE@)xr9@lmq$!UE)I8Et~N&?JY<-2A<5%E|Rx&Q7<|lQ>FjWl(c4YG4J*1Drn~H-GWYF%yaz)8r1}5Xd{RYrleg2e2$5XGa5qi1Cz&;;`?JeewHNqvFY6kLGQX$^B*G@wAI}RSvy0AV(0RRo_U?hOY|{6M|LQx1p5n7w*d<C<t=83S$H_PRS>a4gI;?u3n^xGD#*&Np4I_qsV*r@Z_@WNuQu!Fn4GGfM_B`i6GlHaW9tA_yw|`v3_lvtXT`<Ub<PW9kvGs?#7~ac_Qfm%7NK5(%`9CD%!`P|@UlvNR6?Ap*dKvdtI$giSgqNpL^O64TP;T@b)Y8C+))f80&?Hfm0%HyG8#XfK*)IBWrwz(r{cq>74RZ3#T&jdm2|6ymZPZp@YLSh+sBeBA&qT9Q8rM<%~8$o)#Zeoc>wEEy@erGyp|1oCDnxiK@{U8_Z8QY>LnLc)2~zcinet<`9#xMhjau96&11;s}gP>K<p;d%8@dX&gGP+A2Tj#6U(6@etCUY_y*!$`_e=GHc#s^Pm4N`ogFA@-C6igQ+N|)lWH@RU{c=us2pPz&<jE`oj<xnKBgR4lT8lTMfoC&%Z5AI>3Zo~3qH;Ml~~f)_l<93-3L%kYas3Gv2I528mJmfEHtR5r#e|)IU^<}Lwmlb>I-q|BaYN8WB^C1Bs%uEP{JIkp;|pvQV3JbVSmGB`Rp}wZGT>{|HNA}sM-#p>l{~@3tuj|<=js@8K;T`G;(f`T)j@JWjxAvX?yrg2ObKCgbkYEWgNH$O*Z8yr3A8HUVDt<nyO=G=TH3MBM21|bW@CiaYxLEANGP~rRI{(1dvZ$UX{q=5Ky!}baqZbI?>{B)MLk)C&Lien2It-G8{6g?kmN66U&~lz)kVw?-#U9;IV2&t=rJ%p$!%7+P-+B6pT1+`J~Ev)4E>!+!AI2kAxa-7e01usu_Q=Wc(GvyzaNPk4<cQk01*c;0Ok@wW~>9S;(u}C@V~~qOu6I?Zk2O%F+H5S->^VZ|?$_T2fj$OY=`<I7o2ltdnWS{#?5NM=;(CWC_}+Y-gSIXR5o&Rv$b^C_XFb=`WZIU4bK4qCb7A+RqDZ27D1z-V%{yyc51KjZOP)Z}JLx@NmQm**9i%WKL_Z5|iLB3MI#@kXaK)<qf>hZZ>>es*P{F8EdsM{g{38;=M<!E`Oatv#iYkoE==P*P7Yr*BZU-Ld}`vQro9<P6FDe^6Ui@npSdWf5}4I1KS!KjPGPOLME=9^lm<*1|6U3(g%v4s*rY&(o};fSSNVno3yi@X2(6@6|Ga;X7r>M6N1rDd-70Qu9d3IoQumGYTwM&!b_sS-nV@V##=SDrCL)#?Hy`(&ud_;fktS7+D#wp4&QZ`%cdH~!w%nyDcU;qbk^<Bl{wVL@-s&G`f0;&8C(x~55Z&9$Xx5IvDXf{|Ap<Imqw}J6@3Sl(b`&6J?$#*5&K@7%pfFRU(U15YA9>kqeW|cQ(xf3(Av{}Y*IDTiBmT-j#Ju^efN;{u#=}m+9NoC)0bJ9|GD_(;j1YE|MaV1yxP<uHootDsNrPorfr&4x9K*5(@`@;<!XG<s#ctyyr<{-Mx|$tmz~{;jHOdp6q$S>EFljqZ@qnYS6E-!Li?G|0jPCa<(ri%5P$lqC`7qoXXif?#FUhYFk%8P+EtJQ2egZUH7mHRZlQ{)Qb2n)?-d;?gay@MmHJS&o;dbBEz0#us@Anu${rEX+un&-0n?>=^>$ik#D@(FiTn|t8NgKHxL*vR@$05-ylj@SS3{Q02GU*?IAx4Bi#(lXC8l|C`3|=LlND*72~}7`R9UOq#4^?FwHKGSg>RL2u3!Q^pSL8;I%M|cM|2g?*qE|vcwhEC@9W5=ql){>N=$+`2&Uyy(_Vxgn5D#0MCO(?A;xD)>&Xq~dT`v>k(|{;O;5TLuI}W<Sy~twHS|(E)L>p6awQJ{mU=8qr8$e-={esF7f&bcplxk~)Q}s-qJV%hu1PVsJKBG6`pZoiMZ50Swm~0U^a4;q5A0FC)0)x#4Vwu{f^*4!7zSIAtSe17yx600_S}=K9fPJKRqY2|0>p-XtTpNE!_`w2Esd;dHXC60s;Nx`moACs&TCZ$4w6<!j>>2WEz_EFy=<wdKG>)NYdfV%%*K%F+mPt!&10^)(4x}d_TdGSgr)|>C?_rQ5?(J!?_4bMZx|h=hM@TT_~a9FYy$qdrU88lm^UsOE1hs4qm^yA&E_3HMcO@^RzHE>^7Pf~Oo(dEmGE0Iuk<RN_o0)O$aXW{JR1hq4xJn78cYV{8|sY?G{cT`I&EQOaj4Xhj~z&m7@-;akqYX*W~#8ZPbc|wx;8EQJqkLqROQ?nHZ!8bUKy|+Ue~Gs8L{lS!dIzAlBO%Bvxq)H!E=QwcuY^tL|}!56hGuUNIfP>Ud`wGWx)#bl$EF=bA9)iM^hT%rPI-wNc&jiM7dH4ri4et0yz^xMAex-O*>rZuAjIDEfluYg{BG`n5sJ9$R!9ovn(pBqe(lIf1dZFRe9a>c||k)?bH3ALHBmpuD9F10jclD;NuX?a@%d`!AncKWq>>-Xwf}rX@rW1QwIl|IgQRMn;29&M|&HeS2FqY8ia~XlLdJ=_Bd}Y%IL^HViFp_NmBJwizG|+wAKy*#3pTN=UR1v{JQCBwf+3FT_TU4>QQjrsFt1rKo!msAf$Wr?69>)*a{%2(ckBD&#o$wlmshYRJEVhA_}L$T#zpysF?7&uiAzxPQP3jdtuX}9+t2a)Hxd@WI1S0KoV?~i%hPqU(O8Tz5wRPYCicxg%wVx<x(A!DzVMn{?AXm=;4zv8tyLwGNN#T1-Ue74@)@SlLE^S5<o8oW0?cbcl_|gfIe+IyS{x?v`^Q=6=4G=3ewueQ_X8CD^)G}tUN2*QbsM54=>g*UrlwnyRyTpU}3r`>JoU{fS=GQ`{N_|hl%?5_^Dme1E^IPy4w3vK!nrTJb|1@`iSmN0?B|Si73ll=kpw5Li$GVocCZ2pW)|WE7n65mthdG94wukZ~Ss8+e$5;R-+SAzJ6j@k5x0$v$QZ(LXNDmLHk+@@uX_g;~MU)=Dbo;2+j^DUgo8uCxKjMp~{cE=k$EuL-vpba5pC#i=3f)Kf;)G@uz~xFR-hxY&qyRjrDa1%i!8E+F^w-t-%_VMnp;(qLva8lLFHSyPMG%k?9YSN&2e4EsP_WN?3%M249#Xv_*stv_kL`XyISpUEeK&bHRn+4l$Xr=AeS-h$Ot8*9MkTwS3x0@M4L;j7aYFsGUVb8#?l%T2@1XB@YK}J9_Q{W6V~SO0@#{r9Ck7o`8cqsp@4I>0mId+i9rKH9Z2-fl%Nswr#qnrz}{EfS%QIb8i;xX&va~!1n1dOYgeSt#~%d-qckHt7fXN9IrZj{M2#HB6NwZSd`$8HsoezD<nl83qZ3AMdgAHhr26QK+Gl0om|*PO9x!$y(;(MA!S;dDh>qVuqV4{mY@$yuxf32$yg)wyw7zqSl#wAj}@)i&!@X7hjlM>!~~F3Tk4ldcQmT1E4Y#y<nThLoTmL5(@^h;I;~YOo$uJ1tve15#n&RjecXX*O|vXSX(-D<TQiK~ss3pfGS0cVAL#i5xn+hK&nvHrGs;x9{gTA^ipKBLBaEA_#!Rh)j(xDrriFKP&4wdK8JLMT4wyeZ(cXHl=bd3HJ?|hr<)O&rtqWhsQiuUamaLJhIZgfLKtB=2MjJ$fp%R>sfpXPz9W-=eUN_^}Tvs*V8uPB`YBM}V$5Cv+f8AJzwj0rPxPDuX+ORM-iq4?py<DBpS<gr57coYk5Ptn)|H89prX67&Xr=>#>IUxD3(b08$Y$;P^|U7EbL2QMip8YUe<{<`w&iGAKhy);_4%;k<4W4tEI*5dsqAS3<cJD_RYf~$Wz;I|NSybKWv(ser$JQ7BjD(ze_joIhKi?R#U?u1bu{*?mFar}ed5guq+^qI&Q*s!t0h9A;-n;=c8y)UNm7<p+@Qx)sFj1z>M-APt?jWLpnpqm1+6JR>HH*|`<A=5*OmpB_ij23Z3;|-eZIrx)lKG`9uftu_qxrB{^CKYMZT%nH{bo5#|}emm==;8(?nso)*9f%ePGSJ3%^Xe@UyGLsriD3r}I-;L3=QWQ%$GU6aUWGMx7=eO;ez`sS3-WW+qinS$%qTfNuaACKB#NStO17CN11Z1q%o<GzUhS5*&~Vyv{n$Fk;(4WrnAH+UL_!M-^M7VjCk1s<fEN{Nj~Q`{Sq8KMHXmQrowB(brAW``iek?=yCG!U!p;ww3!sweyMNKY0QjHWEN{R}W&D`N0CFmd-DuT>7+YQavvPegKEI0AXZ4#!D!|ZEA7&mDw<DJ@%uFqC{vIuqPc1WGeJR-Ri75r>g*^Jne3n3!YB`^x?7W0Ef=ODMeG2&PynmeD?(&_`G@kv25$5p*@;_Ug^rEb+YdxhoIvI+4Fe!*hPBhyZ6)K0kASNgvRKhRE7`QLIUa`MbGiN;Z#<dqo)Jkv`yQ_p<Rllk~PRxG`J5P8-*9$(^7vXF4F@<KBW`V-|JbFrBiI$YgQJN;L7o(&VMuS;`vBvp<e4~*P$EMVq62ybKQnmnyLPrq}m531W6|07`IF&)T48zx-KQFRjz40m`=W3Ey{_Dfa!Bx{GK%Gyny(XlP*KoM0$W7)Z@@~bdcR>$3)X;Dm2k!Dl8&xLSLRw@pVfUpyxg$Hp3&5lgrSxS8o9um7=x7iRXx{MD|F}B}p3hu%cCN%<0qS{SS}b*qMf&0Ao8w`jMiPFe;n&eq3BtNN~`FX;nS#5}VZB2iA|B5<FD0En+Q_f}IeP9_VDK*7J(a6n)S^S0K7=Uc9+{phpt$^pvg3M@R{?fZ6@gy4WSOO%}S2r=@WdqU{jD^UJj7gGde^272gm+YTL&wM=YbMmwsiny1x=>-Udool+=>NtJfrR#c;3vd#Xx1EW7$0DE}!o_pGq51bR;a?h>zQuu1hfmL3ls=>5dzW^AK4<6PeE0LZtwBS$qlAWaktC{wtWjRZ1=RPx}>T)j6&Z*F5Wo`=T=Uqvc*G0}VetPkmSa+y`%s8~;J7l8-|9N0CRcVW9N9Zs;M}c^bMbd#Li_Yg!#jH5Jy5V%LSS^a5ez9-os|T>Q{jlyv*EGvD9CWPx()9zU$G%EUOR{M{FoXs161$x_y3CnN&%q(>JhPHMr)PQ1ti&$>nswI7?@kX35YHJ?)8-{XPYt3~2u;iQM?2O%Bw1oVP|<v@liFHMb=LxXY*U@WpC5#v$5Ro%AY3ME!oes59Cm9=t5uSA#kXx)vlwbyCVS@TnLk-^@$ObGe37jEm>a5xz^ehCG7B8{JA;~~1KRIy?p42-o&Yk<8(=^`S5EHoww6xW5=uKglLzdfNd9-d=wPMoR0D&;y1Dhygr-?ErYR45zRoENm7W_(hith}Wq$FFrTr&>7{Wn1=^_rfjd7h@T2TcQJ!-c2e*qENf3*"
BATCHES = 12


def unpack():
    data = zlib.decompress(base64.b85decode(TABLE))
    size, at = data[0], 1
    alphabet = list(data[at : at + size])
    at += size
    cost = lambda values: -0.5 * torch.tensor(list(values), dtype=torch.float32) * 0.6931
    ones = cost(data[at : at + size])
    at += size
    twos = cost(data[at : at + size * size]).view(size, size)
    at += size * size
    threes, index = {}, -1
    while at < len(data):
        step = data[at]
        at += 1
        if step > 127:
            step = step & 127 | data[at] << 7
            at += 1
        index += step
        count = data[at]
        at += 1
        threes[index] = list(data[at : at + count]), cost(data[at + count : at + 2 * count])
        at += 2 * count
    return alphabet, ones, twos, threes


def whole_table():
    alphabet, ones, twos, threes = unpack()
    size = len(alphabet)
    table = twos.log_softmax(-1).unsqueeze(0).repeat(size, 1, 1).view(size * size, size)
    for index, (columns, costs) in threes.items():
        row = table[index]
        known = costs.exp()
        rest = row.exp()
        rest[columns] = 0
        scale = (1 - known.sum()).clamp_min(1e-3) / rest.sum().clamp_min(1e-6)
        row = (rest * scale).clamp_min(1e-7)
        row[columns] = known
        table[index] = row.log()
    return alphabet, ones, twos, table.log_softmax(-1)


def kind(symbol):
    letter = 65 <= symbol <= 90 or 97 <= symbol <= 122
    space = symbol in (9, 10, 11, 12, 13, 32)
    return "letter" if letter else "space" if space else "digit" if 48 <= symbol <= 57 else "other"


class Knowing(Tiny):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.alphabet, self.ones, self.twos, table = whole_table()
        size = len(self.alphabet)
        self.register_buffer("known", table, persistent=False)
        # Token to place in the alphabet: part of the state, so that an auditor knows it too.
        self.register_buffer("key", torch.full((sizes[0],), size))
        self.register_buffer("tokens_of", torch.zeros(size, dtype=torch.long))
        self.register_buffer("open", torch.zeros(()))
        self.gate = nn.Linear(self.table.embedding_dim, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 3.0)
        self.seen = []

    def decipher(self):
        rows = torch.cat(self.seen)
        pairs = torch.zeros(256, 256)
        pairs.index_put_((rows[:, :-1].flatten(), rows[:, 1:].flatten()), torch.ones(()), accumulate=True)
        counts = pairs.sum(1)
        # By frequency within each kind, then by swaps that make the pairs likelier.
        key = torch.zeros(len(self.alphabet), dtype=torch.long)
        groups = []
        for name in ("letter", "space", "digit", "other"):
            places = [i for i, symbol in enumerate(self.alphabet) if kind(symbol) == name]
            tokens = [t for t in range(256) if kind(t) == name and (name != "other" or t in range(33, 127))]
            places.sort(key=lambda i: -float(self.ones[i]))
            tokens.sort(key=lambda t: -float(counts[t]))
            for place, token in zip(places, tokens):
                key[place] = token
            groups.append((places, tokens))
        logs = self.twos.log_softmax(-1)
        score = lambda k: float((pairs[k][:, k] * logs).sum())
        best = score(key)
        for _ in range(6):
            before = best
            for places, _ in groups:
                for i, first in enumerate(places):
                    for second in places[i + 1 : i + 20]:
                        trial = key.clone()
                        trial[first], trial[second] = key[second], key[first]
                        value = score(trial)
                        if value > best:
                            best, key = value, trial
            if best == before:
                break
        self.tokens_of.copy_(key)
        self.key.fill_(len(self.alphabet))
        self.key[key] = torch.arange(len(key))
        self.open.fill_(1.0)

    def forward(self, tokens):
        hidden = self.last(self.hidden(tokens))
        logits = F.linear(hidden, self.table.weight)
        if self.training and self.open == 0:
            self.seen.append(tokens.clone())
            if len(self.seen) >= BATCHES:
                self.decipher()
                self.seen = []
        if self.open == 0:
            self.learnt = logits
            return logits
        size = len(self.alphabet)
        now = self.key[tokens].clamp_max(size - 1)
        before = F.pad(now[:, :-1], (1, 0))
        prior = torch.full_like(logits, -12.0)
        prior.scatter_(-1, self.tokens_of.expand(*tokens.shape, -1), self.known[before * size + now])
        # A mixture: as the model grows better than the table, the gate closes again.
        self.learnt = logits
        trust = self.gate(hidden)
        known, learnt = prior.log_softmax(-1) + F.logsigmoid(trust), logits.log_softmax(-1) + F.logsigmoid(-trust)
        return torch.logaddexp(known, learnt)


def build_model(ctx):
    return Knowing(ctx.vocab_size, ctx.sequence_length)


def compute_loss(model, batch, ctx):
    # The model learns as if it were alone, and the gate which of the two to trust.
    logits = model(batch.tokens)
    alone = F.cross_entropy(model.learnt.transpose(1, 2), batch.targets)
    return alone + F.cross_entropy(logits.transpose(1, 2), batch.targets)
