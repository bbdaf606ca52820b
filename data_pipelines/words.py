"""Word lists of the synthetic corpus: common words of each language.

Its sentences are made of these, in native script. They are short, differ in
sound within their language, and espeak-ng reads each of them properly, which
is why the Japanese ones are in kana. The first N of a list are the N that
`--words N` uses.
"""

from s02jax.core.errors import UserError
from s02jax.core.languages import Language

_LISTS = {
  "zh": """
    我们 今天 朋友 喜欢 老师 学生 吃饭 喝水 苹果 牛奶 天气 很好 明天 上海 北京
    飞机 火车 汽车 电话 电影 音乐 跳舞 唱歌 图书 商店 医院 学校 家里 孩子 爸爸
    妈妈 哥哥 妹妹 白色 红花 绿草 大海 高山 小狗 黑猫 时间 工作 快乐 春天 夏天
    秋天 冬天 月亮""",
  "en": """
    house water morning people little yellow summer music happy river seven
    garden window never mountain children always paper open dinner city green
    money school brother winter letter apple black father island table story
    under market hundred quiet doctor silver ocean friend garlic orange bread
    coffee purple engine village""",
  "yue": """
    我哋 今日 朋友 鍾意 老師 學生 食飯 飲水 蘋果 牛奶 天氣 好靚 聽日 香港 廣州
    飛機 火車 巴士 電話 電影 音樂 跳舞 唱歌 睇書 商店 醫院 學校 屋企 細路 爸爸
    媽媽 哥哥 妹妹 白色 紅花 綠草 大海 高山 小狗 黑貓 時間 工作 開心 春天 夏天
    秋天 冬天 月光""",
  "ja": """
    わたし あなた きょう あした ともだち がっこう せんせい みず りんご さかな
    たまご にく ごはん おちゃ ねこ いぬ とり うま やま かわ うみ そら あめ ゆき
    はな くるま でんしゃ いえ まど つくえ ほん かみ えいが おんがく うた あさ
    ひる よる なつ ふゆ あかい あおい しろい くろい おおきい ちいさい たべる
    のむ""",
  "ko": """
    우리 오늘 내일 친구 학교 선생님 학생 물 사과 우유 고기 생선 밥 빵 커피 나무
    꽃 하늘 바다 산 강 비 눈 바람 여름 겨울 봄 가을 집 문 창문 책상 의자 책 음악
    영화 노래 자동차 기차 비행기 전화 병원 시장 아이 엄마 아버지 동생 고양이""",
  "ar": """
    بَيْت ماء كِتاب قَلَم باب شَمْس قَمَر بَحْر جَبَل نَهْر سَماء أَرْض وَلَد بِنْت رَجُل مَدينة
    سَيّارة قِطار طائِرة طَعام خُبْز لَبَن شاي قَهْوة تُفّاح سَمَك لَحْم صَباح مَساء لَيْل نَهار
    صَديق مُدَرِّس طَبيب مَدْرَسة سوق شارِع كَبير صَغير جَميل جَديد قَديم أَحْمَر أَخْضَر
    أَبْيَض أَسْوَد وَرْدة حَديقة""",
  "es": """
    casa agua mañana gente pequeño amarillo verano música feliz río siete
    jardín ventana nunca montaña niños siempre papel abierto cena ciudad verde
    dinero escuela hermano invierno carta manzana negro padre isla mesa cuento
    noche mercado cien perro médico plata fuego amigo leche naranja pueblo
    caballo camino tierra zapato""",
  "tr": """
    ev su sabah insan küçük sarı yaz müzik mutlu nehir yedi bahçe pencere asla
    dağ çocuk kağıt açık yemek şehir yeşil para okul kardeş kış mektup elma
    siyah baba ada masa hikaye gece pazar köpek doktor gümüş deniz arkadaş süt
    portakal köy ekmek balık yağmur güneş kitap kapı""",
  "id": """
    rumah air pagi orang kecil kuning musim lagu senang sungai tujuh taman
    jendela gunung anak selalu kertas buka makan kota hijau uang sekolah adik
    hujan surat apel hitam bapak pulau meja cerita malam pasar anjing dokter
    perak laut teman susu jeruk desa roti ikan merah langit pintu buku""",
  "pt": """
    casa água manhã gente pequeno amarelo verão música feliz rio sete jardim
    janela nunca montanha menino sempre papel aberto jantar cidade verde
    dinheiro escola irmão inverno carta maçã preto pai ilha mesa conto noite
    mercado cem cachorro médico prata fogo amigo leite laranja povo cavalo
    caminho terra sapato""",
  "fr": """
    maison matin petit jaune musique heureux rivière sept jardin fenêtre
    jamais montagne enfant toujours papier ouvert dîner ville vert argent école
    frère hiver lettre pomme noir père île table histoire nuit marché cent
    chien médecin feu ami lait orange village cheval chemin terre soleil
    poisson bateau livre porte""",
  "it": """
    casa acqua mattina gente piccolo giallo estate musica felice fiume sette
    giardino finestra mai montagna bambino sempre carta aperto cena città verde
    soldi scuola fratello inverno lettera mela nero padre isola tavolo storia
    notte mercato cento cane medico argento fuoco amico latte arancia paese
    cavallo strada terra scarpa""",
  "nl": """
    huis water morgen mensen klein geel zomer muziek vrolijk rivier zeven tuin
    raam nooit berg kinderen altijd papier open eten stad groen geld school
    broer winter brief appel zwart vader eiland tafel verhaal nacht markt
    honderd hond dokter zilver vuur vriend melk oranje dorp paard brood vogel
    schoen""",
  "vi": """
    nhà nước sáng người nhỏ vàng mùa nhạc vui sông bảy vườn cửa núi trẻ luôn
    giấy mở cơm phố xanh tiền trường anh thư táo đen cha đảo bàn truyện đêm chợ
    trăm chó thuốc bạc biển bạn sữa cam làng ngựa đường đất giày cá mưa""",
  "de": """
    haus wasser morgen leute klein gelb sommer musik fröhlich fluss sieben
    garten fenster niemals berge kinder immer papier offen essen stadt grün
    geld schule bruder winter brief apfel schwarz vater insel tisch geschichte
    nacht markt hundert katze doktor silber feuer freund milch orange dorf
    pferd straße vogel schuhe""",
  "ru": """
    дом вода утро люди маленький жёлтый лето музыка счастье река семь сад окно
    никогда гора дети всегда бумага открыто ужин город зелёный деньги школа
    брат зима письмо яблоко чёрный отец остров стол рассказ ночь рынок сто
    собака доктор море огонь друг молоко апельсин деревня лошадь дорога земля
    хлеб""",
  "uk": """
    дім вода ранок люди малий жовтий літо музика щастя річка сім сад вікно
    ніколи гора діти завжди папір відкрито вечеря місто зелений гроші школа
    брат зима лист яблуко чорний батько острів стіл казка ніч ринок сто собака
    лікар море вогонь друг молоко село кінь дорога земля хліб птах""",
  "th": """
    บ้าน น้ำ เช้า คน เล็ก เพลง แม่ พ่อ ปลา หมา แมว นก ไก่ ข้าว นม ชา ผัก เนื้อ
    ไข่ แดง ดำ ขาว ฟ้า ฝน ลม ทะเล ภูเขา ต้นไม้ ดิน ไฟ รถ เรือ ถนน เมือง ตลาด
    โรงเรียน หนังสือ โต๊ะ มือ ตา หู ปาก วันนี้ พรุ่งนี้ เพื่อน ดี ใหญ่ กิน""",
  "pl": """
    dom woda rano ludzie mały żółty lato muzyka szczęście rzeka siedem ogród
    okno nigdy góra dzieci zawsze papier otwarte kolacja miasto zielony
    pieniądze szkoła brat zima list jabłko czarny ojciec wyspa stół bajka noc
    rynek sto pies lekarz srebro ogień kolega mleko pomarańcza wieś koń droga
    ziemia chleb""",
  "ro": """
    casă apă dimineață oameni mic galben vară muzică fericit râu șapte grădină
    fereastră niciodată munte copii mereu hârtie deschis cină oraș verde bani
    școală frate iarnă scrisoare măr negru tată insulă masă poveste noapte
    piață sută câine doctor argint foc prieten lapte portocală sat cal drum
    pământ pâine""",
  "el": """
    σπίτι νερό πρωί κόσμος μικρό κίτρινο καλοκαίρι μουσική χαρά ποτάμι επτά
    κήπος παράθυρο ποτέ βουνό παιδιά πάντα χαρτί ανοιχτό βράδυ πόλη πράσινο
    χρήμα σχολείο αδελφός χειμώνας γράμμα μήλο μαύρο πατέρας νησί τραπέζι
    ιστορία νύχτα αγορά εκατό σκύλος γιατρός ασήμι φωτιά φίλος γάλα πορτοκάλι
    χωριό άλογο δρόμος θάλασσα ψωμί""",
  "cs": """
    dům voda ráno lidé malý žlutý léto hudba štěstí řeka sedm zahrada okno
    nikdy hora děti vždy papír otevřeno večeře město zelený peníze škola bratr
    zima dopis jablko černý otec ostrov stůl pohádka noc trh sto pes lékař
    stříbro oheň přítel mléko pomeranč vesnice kůň cesta země chléb""",
  "fi": """
    talo vesi aamu ihmiset pieni keltainen kesä musiikki iloinen joki seitsemän
    puutarha ikkuna koskaan vuori lapset aina paperi avoin ruoka kaupunki
    vihreä raha koulu veli talvi kirje omena musta isä saari pöytä tarina yö
    tori sata koira lääkäri hopea tuli ystävä maito kylä hevonen tie maa leipä
    kala""",
  "hi": """
    घर पानी सुबह लोग छोटा पीला गर्मी संगीत खुश नदी सात बगीचा खिड़की कभी पहाड़
    बच्चे हमेशा कागज खुला खाना शहर हरा पैसा स्कूल भाई सर्दी चिट्ठी सेब काला पिता
    टापू मेज कहानी रात बाजार कुत्ता डॉक्टर चांदी आग दोस्त दूध संतरा गांव घोड़ा रास्ता
    जमीन रोटी किताब""",
  "bg": """
    къща вода сутрин хора малък жълт лято музика щастие река седем градина
    прозорец никога планина деца винаги хартия отворено вечеря град зелен пари
    училище брат зима писмо ябълка черен баща остров маса приказка нощ пазар
    сто куче лекар сребро огън приятел мляко портокал село кон път земя хляб""",
  "hr": """
    kuća voda jutro ljudi malen žuto ljeto glazba sreća rijeka sedam vrt prozor
    nikad planina djeca uvijek papir otvoreno večera grad zelen novac škola
    brat zima pismo jabuka crno otac otok stol priča noć tržnica sto pas
    liječnik srebro vatra prijatelj mlijeko naranča selo konj cesta zemlja
    kruh""",
  "da": """
    hus vand morgen folk lille gul sommer musik glad flod syv have vindue
    aldrig bjerg børn altid papir åben aftensmad by grøn penge skole bror
    vinter brev æble sort far bord historie nat marked hundrede kat læge sølv
    ild ven mælk appelsin landsby hest gade jord brød fugl""",
  "hu": """
    ház víz reggel emberek kicsi sárga nyár zene boldog folyó hét kert ablak
    soha hegy gyerek mindig papír nyitva vacsora város zöld pénz iskola testvér
    tél levél alma fekete apa sziget asztal mese éjszaka piac száz kutya orvos
    ezüst tűz barát tej narancs falu ló utca föld kenyér""",
  "ms": """
    rumah air pagi orang kecil kuning musim lagu gembira sungai tujuh kebun
    tingkap gunung budak selalu kertas buka makan bandar hijau wang sekolah
    adik hujan surat epal hitam bapa pulau meja cerita malam pasar anjing
    doktor perak laut kawan susu oren kampung roti ikan merah langit pintu
    buku""",
  "nb": """
    hus vann morgen folk liten gul sommer musikk glad elv syv hage vindu aldri
    fjell barn alltid papir åpen middag by grønn penger skole bror vinter brev
    eple svart far øy bord historie natt marked hundre katt lege sølv ild venn
    melk appelsin landsby hest gate jord brød""",
  "sk": """
    dom voda ráno ľudia malý žltý leto hudba šťastie rieka sedem záhrada okno
    nikdy hora deti vždy papier otvorené večera mesto zelený peniaze škola brat
    zima dopis jablko čierny otec ostrov stôl rozprávka noc trh sto pes lekár
    striebro oheň priateľ mlieko pomaranč dedina kôň cesta zem chlieb""",
  "sv": """
    hus vatten morgon folk liten gul sommar musik glad flod sju trädgård
    fönster aldrig berg barn alltid papper öppen middag stad grön pengar skola
    bror vinter brev äpple svart pappa ö bord saga natt marknad hundra katt
    läkare silver eld vän mjölk apelsin by häst gata jord bröd""",
}

WORDS: dict[str, tuple[str, ...]] = {
  code: tuple(words.split()) for code, words in _LISTS.items()
}


def first_words(language: Language, count: int) -> tuple[str, ...]:
  """First `count` words of a language's list.

  Raises:
    UserError: the language has no list, or one with fewer words.
  """
  words = WORDS.get(language.code)
  if words is None:
    raise UserError(
      f"language {language.code!r} has no word list; give your own texts with"
      " --sentences FILE"
    )
  if not 4 <= count <= len(words):
    raise UserError(
      f"--words {count} is out of range: language {language.code!r} has"
      f" {len(words)} words and a sentence needs at least 4 to choose from"
    )
  return words[:count]
