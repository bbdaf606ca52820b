"""Words of short texts, in languages that share a script.

Greetings, answers and calls are too short for statistics of letters; they tell
the language by themselves.
"""

WORDS: dict[str, frozenset[str]] = {
  code: frozenset(words.split())
  for code, words in {
    "en": "hello hi hey yes no thanks thank you please goodbye bye sorry good"
    " morning evening night welcome what who where when why how the is are it"
    " of and to this that my i we they stop help water love okay right left"
    " wait here there not do don't go come see dear friend all",
    "de": "hallo hi ja nein danke bitte tschüss tschüs auf wiedersehen guten"
    " morgen abend tag nacht gute entschuldigung was wer wo wann warum wie der"
    " die das ist sind und zu ein eine ich du wir sie es nicht halt stopp hilfe"
    " wasser liebe links rechts warte hier da komm gut mein dein lieber freund"
    " alles",
    "es": "hola sí si no gracias por favor adiós adios perdón buenos buenas"
    " días tardes noches bienvenido qué que quién dónde cuándo cómo el la los"
    " las es son y un una yo tú nosotros ellos alto ayuda agua amor amigo"
    " amiga izquierda derecha espera aquí ahí ven mi bien muy todo de en",
    "fr": "bonjour salut oui non merci s'il vous plaît au revoir pardon bonsoir"
    " bonne nuit bienvenue quoi qui où quand pourquoi comment le la les est"
    " sont et un une je tu nous ils arrête aide eau amour ami gauche droite"
    " attends ici là viens mon bien très tout de en",
    "it": "ciao sì si no grazie prego per favore arrivederci scusa buongiorno"
    " buonasera buonanotte benvenuto che chi dove quando perché come il lo la"
    " gli è sono e un una io tu noi loro ferma aiuto acqua amore amico"
    " sinistra destra aspetta qui lì vieni mio bene molto tutto di",
    "pt": "olá oi sim não obrigado obrigada por favor adeus tchau desculpa bom"
    " boa dia tarde noite bem-vindo que quem onde quando porquê como o a os as"
    " é são e um uma eu tu nós eles pare ajuda água amor amigo esquerda"
    " direita espera aqui ali vem meu muito tudo de em",
    "nl": "hallo hoi ja nee dank bedankt alsjeblieft alstublieft dag doei"
    " goedemorgen goedenavond goedenacht welkom sorry wat wie waar wanneer"
    " waarom hoe de het is zijn en een ik jij je wij zij niet stop hulp water"
    " liefde vriend links rechts wacht hier daar kom mijn goed alles",
    "sv": "hej ja nej tack snälla adjö förlåt god morgon kväll natt välkommen"
    " vad vem var när varför hur är och en ett jag du vi de inte stopp hjälp"
    " vatten kärlek vän vänster höger vänta här där kom min bra allt",
    "da": "hej ja nej tak farvel undskyld god morgen aften nat velkommen hvad"
    " hvem hvor hvornår hvorfor hvordan er og en et jeg du vi de ikke stop"
    " hjælp vand kærlighed ven venstre højre vent her der kom min godt alt",
    "nb": "hei ja nei takk farvel unnskyld god morgen kveld natt velkommen hva"
    " hvem hvor når hvorfor hvordan er og en et jeg du vi de ikke stopp hjelp"
    " vann kjærlighet venn venstre høyre vent her der kom min bra alt",
    "fi": "hei moi terve kyllä ei kiitos ole hyvä näkemiin anteeksi hyvää"
    " huomenta iltaa yötä tervetuloa mikä kuka missä milloin miksi miten on ja"
    " minä sinä me he seis apua vettä rakkaus ystävä odota tässä tule hyvin",
    "pl": "cześć hej tak nie dziękuję dzięki proszę pa przepraszam dzień dobry"
    " wieczór dobranoc witaj co kto gdzie kiedy dlaczego jak jest są i ja ty my"
    " oni stop pomocy woda miłość przyjaciel lewo prawo czekaj tu tam chodź",
    "cs": "ahoj ano ne děkuji díky prosím nashledanou promiňte dobrý den ráno"
    " večer dobrou noc vítejte co kdo kde kdy proč jak je jsou a já ty my oni"
    " stůj pomoc voda láska přítel vlevo vpravo počkej tady tam pojď",
    "sk": "ahoj áno nie ďakujem vďaka prosím dovidenia prepáčte dobrý deň ráno"
    " večer dobrú noc vitajte čo kto kde kedy prečo ako je sú a ja ty my oni"
    " stoj pomoc voda láska priateľ vľavo vpravo počkaj tu tam poď",
    "hr": "bok da ne hvala molim doviđenja oprosti dobro jutro večer dan laku"
    " noć dobrodošli što tko gdje kada zašto kako je su i ja ti mi oni stani"
    " pomoć voda ljubav prijatelj lijevo desno čekaj ovdje tamo dođi",
    "ro": "bună salut da nu mulțumesc mersi te rog pa scuze ziua dimineața"
    " seara noapte bine ce cine unde când cum este sunt și eu tu noi ei stai"
    " ajutor apă dragoste prieten stânga dreapta așteaptă aici acolo vino",
    "hu": "szia sziasztok igen nem köszönöm kérem viszlát bocsánat jó reggelt"
    " napot estét éjszakát üdvözlöm mi ki hol mikor miért hogyan a az és én te"
    " ők állj segítség víz szerelem barát balra jobbra várj itt ott gyere",
    "tr": "merhaba selam evet hayır teşekkür teşekkürler lütfen hoşça"
    " kal pardon günaydın iyi akşamlar geceler ne kim nerede nasıl ve bir ben"
    " sen biz onlar dur yardım su aşk arkadaş sol sağ bekle burada gel",
    "id": "halo hai ya tidak terima kasih tolong maaf selamat pagi siang malam"
    " apa siapa mana kapan mengapa bagaimana dan ini itu saya kamu kami mereka"
    " berhenti air cinta teman kiri kanan tunggu di sini sana bisa karena",
    "ms": "helo hai ya tidak terima kasih tolong maaf selamat pagi petang malam"
    " apa siapa mana bila mengapa bagaimana dan ini itu saya awak kami mereka"
    " berhenti air cinta kawan kiri kanan tunggu di sini sana boleh kerana",
    "vi": "xin chào vâng không cảm ơn tạm biệt lỗi buổi sáng tối ngủ ngon gì ai"
    " đâu khi nào tại sao và là tôi bạn chúng họ dừng lại giúp nước yêu trái"
    " phải chờ ở đây đó",
    "ru": "привет здравствуйте да нет спасибо пожалуйста пока до свидания"
    " извините доброе утро добрый день вечер ночи что кто где когда почему как"
    " и я ты мы они стоп помогите вода любовь друг налево направо жди здесь",
    "uk": "привіт вітаю так ні дякую будь ласка бувай до побачення вибачте"
    " доброго ранку добрий день вечір ночі що хто де коли чому як і я ти ми"
    " вони стій допоможіть вода любов друг ліворуч праворуч чекай тут",
    "bg": "здравей здравейте да не благодаря мерси моля чао довиждане извинете"
    " добро утро добър ден вечер нощ какво кой къде кога защо как и аз ти ние"
    " те стоп помощ вода любов приятел ляво дясно чакай тук",
  }.items()
}
